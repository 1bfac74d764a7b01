// HTTP tools: what their requests are made of, and where they may go.

#include <algorithm>

#include "troupe/config/resolver.hpp"
#include "troupe/policy/request_template.hpp"

namespace troupe::config {

namespace {

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

/// "api.example.com" and "443" of "https://api.example.com".
std::pair<std::string, std::string> host_and_port(const std::string& origin) {
  auto host = lower_case(origin.substr(origin.find("://") + 3));
  std::string port = origin.rfind("https", 0) == 0 ? "443" : "80";
  if (const auto colon = host.rfind(':'); colon != std::string::npos && (host.front() != '[' || colon > host.rfind(']'))) {
    port = host.substr(colon + 1);
    host.resize(colon);
  }
  return {host, port};
}

/// The part that a problem's words begin with: "headers/X-Who: …".
std::pair<view, std::string> place_of(const view& from, const std::string& words) {
  const auto end = words.find(": ");
  auto at = from;
  for (std::size_t begin = 0; begin < end;) {
    const auto slash = std::min(words.find('/', begin), end);
    const auto name = words.substr(begin, slash - begin);
    const bool is_number = !name.empty() && name.size() < 7 && name.find_first_not_of("0123456789") == std::string::npos;
    at = at.is_array() && is_number ? at.element(std::stoul(name)) : at[name];
    begin = slash + 1;
  }
  return {at, words.substr(end + 2)};
}

} // namespace

void resolver::http_tool(const view& from, tool_spec& into) {
  if (from["body"].present())
    into.http.body = from["body"].value();
  from["content_type"].read(into.http.content_type);
  from["accept"].read(into.http.accept);
  from["redirects"].read(into.http.redirects);
  if (!from["success"].present())
    into.success.clear(); // 200 to 299
  if (into.url.empty())
    return; // the schema said so
  const auto request = policy::request_template::compile({into.method, into.url, into.headers, into.http.body, into.http.content_type});
  if (!request) {
    const auto [at, words] = place_of(from, request.error().message);
    at.wrong(words);
    return;
  }
  const auto properties = from["parameters"]["properties"];
  const bool open = from["parameters"].present() && !properties.is_object();
  std::vector<std::string_view> known;
  if (properties.is_object())
    known = names_of(properties.value().get_ref<const json::object_t&>());
  const auto read = request->arguments();
  const auto has = [](const auto& list, const auto& name) { return std::find(list.begin(), list.end(), name) != list.end(); };
  for (const auto& name : read)
    if (!open && !has(known, name) && !in_.issues.errors_full())
      from.wrong_key("no parameter named " + in_quotes(name)
                     + (known.empty() ? std::string("; describe it in parameters") : did_you_mean(name, known)));
  if (!request->sends_the_rest())
    for (const auto& name : known)
      if (!has(read, name) && !in_.issues.warnings_full())
        properties[name].warn_key("nothing reads this argument: neither url nor headers nor body names it");
  const auto secrets = request->secrets();
  const auto unnamed = [](const std::string& name) {
    return "{{ env." + name + " }} is read, and env_from does not name it; add env_from: [" + name + "]";
  };
  for (const auto& name : secrets)
    if (!has(into.env_from, name))
      from["headers"].wrong(unnamed(name));
  from["env_from"].each_element([&](std::size_t, const view& each) {
    if (const auto* name = each.text(); name != nullptr && !has(secrets, *name))
      each.warn("no header reads it; write {{ env." + *name + " }} where it is meant to stand");
  });
  const bool is_json = into.http.content_type.find("json") != std::string::npos;
  if (into.http.body.is_string() && is_json && request->is_one_value())
    from["body"].warn("the value is sent as it is, whether it is JSON or not; write the body as a mapping");
  else if (request->has_loose_values() && into.http.content_type.find("text/plain") == std::string::npos)
    from["body"].warn(
        "values are put into a text as they are, and may change what it says; write a mapping for JSON, name=value&… for a form, or "
        "content_type: text/plain where any text will do");
  http_hosts(from, request->origin());
}

/// The url's host is the first that is allowed; a list without it is a misunderstanding.
void resolver::http_hosts(const view& from, const std::string& origin) {
  const auto hosts = from["allow_hosts"];
  if (!hosts.is_array())
    return;
  const auto [host, port] = host_and_port(origin);
  bool found = false;
  hosts.each_element([&, own = host, at = port](std::size_t, const view& each) {
    if (const auto* text = each.text()) {
      const auto entry = lower_case(*text);
      const bool below = entry.rfind("*.", 0) == 0;
      found = found || entry == own || entry == own + ":" + at || "[" + entry + "]" == own
              || (below && (own.ends_with(entry.substr(1)) || (own + ":" + at).ends_with(entry.substr(1))));
    }
  });
  if (!found)
    hosts.wrong("it does not have " + in_quotes(host)
                + ", the url's own host; add it, or leave allow_hosts out where no redirect leads elsewhere");
}

} // namespace troupe::config
