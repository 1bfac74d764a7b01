// The supervision tree. Rules are those of OTP's supervisor (SEMANTICS 8).

#include "troupe/config/resolver.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

void read_shutdown(const view& from, shutdown_spec& into) {
  const auto* text = from.text();
  if (text == nullptr)
    return;
  into = {};
  if (*text == "brutal_kill")
    into.brutal_kill = true;
  else if (*text == "infinity")
    into.infinity = true;
  else
    from.read(into.time);
}

} // namespace

void resolver::supervision() {
  const auto from = root_["supervision"];
  if (from.present()) {
    supervisor(from, out_.supervision);
    // In a tree with mistakes an agent may only seem to be missing.
    tree_is_good_ = !in_.issues.has_error_below("/supervision");
    return;
  }
  for (const auto& [name, agent] : out_.agents) {
    child_spec child;
    child.id = name;
    child.kind = child_kind::pool;
    out_.supervision.children.push_back(std::move(child));
  }
}

void resolver::supervisor(const view& from, supervisor_spec& into) {
  from["name"].read(into.name);
  from["strategy"].read(into.strategy);
  from["max_restarts"].read(into.max_restarts);
  from["within"].read_positive(into.within);
  from["auto_shutdown"].read(into.auto_shutdown);
  bool any_significant = false;
  from["children"].each_element([&](std::size_t, const view& each) {
    child_spec child;
    each["size"].read(child.size);
    each["restart"].read(child.restart);
    each["significant"].read(child.significant);
    any_significant = any_significant || child.significant;
    if (each["supervisor"].present()) {
      child.kind = child_kind::supervisor;
      child.shutdown.infinity = true;
      child.supervisor.emplace_back();
      child.supervisor.back().name = "";
      supervisor(each["supervisor"], child.supervisor.back());
      if (child.supervisor.back().name.empty() && each["supervisor"].is_object() && !each["supervisor"]["name"].present())
        each["supervisor"].wrong_key("a supervisor below another one needs a name");
      child.id = child.supervisor.back().name;
      tree_id(each["supervisor"]["name"]);
    } else {
      const auto name = each[each["pool"].present() ? "pool" : "agent"];
      child.kind = each["pool"].present() ? child_kind::pool : child_kind::agent;
      name.read(child.id);
      if (name.is_string() && out_.agents.count(child.id) == 0)
        unknown(name, "agent", out_.agents);
      else
        tree_id(name);
      placed_.insert(child.id);
    }
    read_shutdown(each["shutdown"], child.shutdown);
    if (child.significant && child.restart == restart_type::permanent)
      each["significant"].wrong(
          "a permanent child is always restarted, so that its end means nothing; say restart: transient or temporary");
    else if (child.significant && into.auto_shutdown == auto_shutdown_type::never)
      each["significant"].wrong("no meaning without auto_shutdown: any_significant or all_significant on its supervisor");
    into.children.push_back(std::move(child));
  });
  if (into.auto_shutdown != auto_shutdown_type::never && !any_significant)
    from["auto_shutdown"].wrong("no child is significant, so that it would never happen; mark one with significant: true");
}

/// Ids are unique in the whole tree, so that commands and events can name a node.
void resolver::tree_id(const view& name) {
  const auto* id = name.text();
  if (id == nullptr)
    return;
  const auto [earlier, first] = tree_ids_.emplace(*id, name.pointer());
  if (first)
    return;
  name.wrong(out_.agents.count(*id) > 0 && placed_.count(*id) > 0
                 ? "agent " + in_quotes(*id) + " has a place in the tree already, at " + earlier->second
                       + "; use a pool with a size for several"
                 : in_quotes(*id) + " is the name of another node of the tree, at " + earlier->second + "; names are unique");
}

} // namespace troupe::config
