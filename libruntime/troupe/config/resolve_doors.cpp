// Checkpoint, journal, queue, tenants, and whatever listens or is told.

#include <charconv>

#include "troupe/config/resolver.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

std::optional<bool> is_loopback(std::string_view listen) {
  const auto colon = listen.rfind(':');
  if (colon == std::string_view::npos || colon == 0)
    return std::nullopt;
  const auto port = listen.substr(colon + 1);
  unsigned number = 0;
  const auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (port.empty() || code != std::errc{} || end != port.data() + port.size() || number > 65535)
    return std::nullopt;
  auto host = listen.substr(0, colon);
  if (host.front() == '[') {
    if (host.size() < 3 || host.back() != ']')
      return std::nullopt;
    return host == "[::1]";
  }
  if (host.find_first_of(": /[]") != std::string_view::npos)
    return std::nullopt;
  if (host == "localhost")
    return true;
  // 127.0.0.0/8, and nothing that only begins like it: 127.evil.example is a name.
  return host.substr(0, 4) == "127." && host.find_first_not_of("0123456789.") == std::string_view::npos;
}

void resolver::notify(const view& from, std::vector<notify_spec>& into) {
  from.each_element([&](std::size_t, const view& each) {
    auto& made = into.emplace_back();
    each["kind"].read(made.kind);
    each["url"].read(made.url);
    each["url_env"].read(made.url_env);
    each["secret_env"].read(made.secret_env);
    each["command"].read(made.command);
    if (made.kind != notify_kind::command && each["url"].present() == each["url_env"].present())
      each.wrong_key("exactly one of url_env (the variable that holds the address) and url is needed");
    if (each["url"].is_string() && made.url.substr(0, 7) != "http://" && made.url.substr(0, 8) != "https://")
      each["url"].wrong(each["url"].shown() + " is no address; it begins with http:// or https://");
  });
}

void resolver::tls(const view& from, std::optional<tls_spec>& into) {
  if (!from.is_object())
    return;
  auto& made = into.emplace();
  from["cert"].read_path(made.cert);
  from["key"].read_path(made.key);
  from["ca"].read_path(made.ca);
}

void resolver::checkpoint() {
  const auto from = root_["checkpoint"];
  auto& into = out_.checkpoint;
  from["timeout"].read_positive(into.timeout);
  from["pause_clock"].read(into.pause_clock);
  from["policy"].each_member([&](const std::string& risk, const view& each) {
    const auto found = into.approvals.find(risk);
    if (found == into.approvals.end())
      return;
    if (const auto* word = each.text())
      found->second = *word == "auto" ? 0 : 1;
    each["approvals"].read(found->second);
  });
  notify(from["notify"], into.notify);
}

void resolver::journal_and_queue() {
  const auto journal = root_["journal"];
  journal["kind"].read(out_.journal.kind);
  journal["url_env"].read(out_.journal.url_env);
  journal["path"].read_path(out_.journal.path);
  if (out_.journal.path.empty() && out_.journal.kind == "sqlite")
    out_.journal.path = in_.folder + (in_.folder.empty() || in_.folder.back() != '/' ? "/" : "") + ".troupe/journal.db";
  const auto queue = root_["queue"];
  queue["kind"].read(out_.queue.kind);
  queue["url_env"].read(out_.queue.url_env);
  queue["region"].read(out_.queue.region);
}

void resolver::tenants() {
  root_["tenants"].each_member([&](const std::string& name, const view& from) {
    auto& into = out_.tenants[name];
    into.name = name;
    limits budget;
    limits_of(from["budget"], budget);
    into.money = budget.money;
    into.time = budget.time;
    into.steps = budget.steps;
    from["budget"]["per"].read_positive(into.per);
    from["max_running"].read(into.max_running);
  });
}

void resolver::doors() {
  const auto listens = [&](const view& from, std::string& into) {
    from.read(into);
    if (!from.present())
      return;
    if (!is_loopback(into))
      from.wrong(from.shown() + " is no address; write host:port, as in 127.0.0.1:8080");
  };
  const auto node = root_["node"];
  node["name"].read(out_.node.name);
  if (out_.node.name.size() > 64 || out_.node.name.find_first_of(" /:\t\r\n\"'") != std::string::npos)
    node["name"].wrong(node["name"].shown() + " is no name; names are of letters, digits, _ - and ., at most 64");
  listens(node["listen"], out_.node.listen);
  node["join"].read(out_.node.join);
  node["join"].each_element([&](std::size_t, const view& each) {
    if (each.is_string() && !is_loopback(*each.text()))
      each.wrong(each.shown() + " is no address; write host:port, as in 127.0.0.1:4501");
  });
  tls(node["tls"], out_.node.tls);
  if (!out_.node.listen.empty() && !out_.node.tls && !is_loopback(out_.node.listen).value_or(true))
    node["listen"].wrong("beyond loopback a node needs tls: without certificates anybody could join");
  const auto api = root_["api"];
  listens(api["listen"], out_.api.listen);
  api["token_env"].read(out_.api.token_env);
  tls(api["tls"], out_.api.tls);
  if (out_.api.token_env.empty() && !out_.api.tls && !is_loopback(out_.api.listen).value_or(true))
    api["listen"].wrong("beyond loopback the API needs token_env (or tls): anybody could use it");
  root_["metrics"]["retention"].read_positive(out_.metrics.retention);
  root_["metrics"]["otlp"]["url_env"].read(out_.metrics.otlp_url_env);
}

void resolver::alerts() {
  root_["alerts"].each_element([&](std::size_t, const view& from) {
    auto& into = out_.alerts.emplace_back();
    from["metric"].read(into.metric);
    from["workflow"].read(into.workflow);
    if (from["workflow"].is_string() && out_.workflows.count(into.workflow) == 0)
      unknown(from["workflow"], "workflow", out_.workflows);
    from["drop"].read(into.drop);
    from["rise"].read(into.rise);
    from["window"].read_positive(into.window);
    from["baseline"].read_positive(into.baseline);
    notify(from["notify"], into.notify);
  });
}

/// What this version checks and does not do yet: nobody may count on it.
void resolver::without_effect() {
  const auto tell = [](const view& from, const std::string& what) {
    if (from.present())
      from.warn("without effect in this version: " + what);
  };
  if (out_.journal.kind != "sqlite")
    tell(root_["journal"]["kind"], "only sqlite can be opened, so that run and resume refuse this file");
  if (out_.queue.kind != "embedded")
    tell(root_["queue"]["kind"], "runs do not wait in a queue; run works on its run itself");
  tell(root_["node"], "processes do not join a cluster");
  tell(root_["api"], "no HTTP API is served");
  tell(root_["checkpoint"]["notify"], "nobody is notified; see `troupe approvals`");
  tell(root_["metrics"]["retention"], "no run is ever deleted");
  tell(root_["metrics"]["otlp"], "nothing is exported");
  if (!out_.alerts.empty())
    tell(root_["alerts"], "nobody is alerted");
  root_["tenants"].each_member(
      [&](const std::string&, const view& from) { tell(from["max_running"], "any number of a tenant's runs may go on at once"); });
}

} // namespace troupe::config
