#pragma once
// A document that the schema accepted (or complained about: every part is optional here) -> the model, with every check that a schema
// cannot make. One method a section; the sections' sources are resolve_*.cpp.

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/config/graph.hpp"
#include "troupe/config/view.hpp"
#include "troupe/model/config.hpp"
#include "troupe/policy/template.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

class resolver {
public:
  /// `document` has its variables substituted. All three outlive the resolver.
  resolver(const json& document, reading& in, configuration& out) : root_(in, &document, ""), in_(in), out_(out) {}

  void run();

private:
  // In the order in which they are read: names that a section refers to were read before it.
  void providers();
  void models();
  void tools();
  void agents();
  void colleagues();
  void supervision();
  void workflows();
  void checkpoint();
  void journal_and_queue();
  void tenants();
  void doors();
  void alerts();
  void without_effect();

  void tool(const std::string& name, const view& from, tool_spec& into);
  void tool_templates(const view& from);
  void http_tool(const view& from, tool_spec& into);
  void http_hosts(const view& from, const std::string& origin);
  void mcp_server(const view& from, tool_spec& into);
  void alternative_cycles();
  void asking_alternatives();
  void output(const view& from, output_spec& into);
  void agent_tools(const view& from, agent_spec& into);
  void asked_agent(const view& name, const std::string& agent);
  void asking_circles();
  void supervisor(const view& from, supervisor_spec& into);
  void tree_id(const view& name);
  void workflow(const view& from, workflow_spec& into);
  void task(const view& from, task_spec& into);
  void task_agent(const view& name);
  void task_resolve(const view& from, task_spec& into);
  void first_race(const view& from, const task_spec& spec);
  const tool_spec* racing_effect(const std::string& tool);
  /// A tool with an effect, and the agent that may call it; null both: there is none.
  struct effect_in_race {
    const tool_spec* tool = nullptr;
    const agent_spec* by = nullptr;
  };
  effect_in_race racing_effect(const agent_spec& agent);
  /// What the templates of a task may read; adds the tasks that they do read to its needs.
  struct template_scope;
  void task_templates(const view& from, task_spec& into, const template_scope& scope);
  void with_templates(const view& part, const template_scope& scope, task_spec& into);
  void check_template(const view& text, const template_scope& scope, task_spec* reader);
  void task_cycles(const view& from, const workflow_spec& workflow);
  void workflow_cycles();
  void workflow_nesting(const graph& runs, const std::vector<std::string>& names);
  void sub_workflow_input(const view& from, const task_spec& spec);
  void prices();

  void limits_of(const view& from, limits& into);
  void notify(const view& from, std::vector<notify_spec>& into);
  void tls(const view& from, std::optional<tls_spec>& into);
  /// Compiles; problems and warnings stand at their own pointers.
  void schema(const view& from, json& into);
  void pattern(const view& from, std::string& into);
  bool patterns_fit(const view& from);
  /// Nullopt after a problem.
  std::optional<text_template> parse_template(const view& from);
  /// `no tool named "grpe"; did you mean "grep"?`
  void unknown(const view& from, const char* noun, const std::vector<std::string_view>& known);
  /// The keys of a map are what is known.
  template <class T>
  void unknown(const view& from, const char* noun, const std::map<std::string, T>& known) {
    if (!in_.issues.errors_full())
      unknown(from, noun, names_of(known));
  }

  view root_;
  reading& in_;
  configuration& out_;
  std::map<std::string, std::string> tree_ids_; ///< id of a child -> pointer of its first place
  std::set<std::string> placed_;                ///< agents in the tree
  bool tree_is_good_ = false;                   ///< given, and without mistakes
  std::size_t pattern_cost_ = 0;
  bool patterns_told_ = false;
  std::map<std::string, const tool_spec*> effect_of_tool_; ///< what `racing_effect` found; null: none
  std::map<std::string, effect_in_race> effect_of_agent_;
};

/// Whether an address (host:port) is on this machine only; nullopt: it is no address.
std::optional<bool> is_loopback(std::string_view listen);

} // namespace troupe::config
