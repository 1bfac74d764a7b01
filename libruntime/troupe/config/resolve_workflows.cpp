// Workflows and their tasks: who does what, after what.

#include <algorithm>

#include "troupe/config/graph.hpp"
#include "troupe/config/resolver.hpp"
#include "troupe/config/template_scope.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

/// What a call of it, or of some tool of the server that it is, may do.
effect possible_effect(const tool_spec& tool) {
  auto out = tool.effect;
  for (const auto& [name, over] : tool.mcp.overrides)
    if (out == effect::none)
      out = over.effect.value_or(out);
  return out;
}

} // namespace

void resolver::workflows() {
  root_["workflows"].each_member([&](const std::string& name, const view& from) {
    auto& into = out_.workflows[name];
    into.name = name;
    workflow(from, into);
  });
  // A workflow may run one that stands behind it.
  for (const auto& [name, spec] : out_.workflows)
    for (std::size_t i = 0; i < spec.tasks.size(); ++i) {
      const auto at = root_["workflows"][name]["tasks"].element(i);
      if (spec.tasks[i].workflow.empty())
        continue;
      if (out_.workflows.count(spec.tasks[i].workflow) == 0)
        unknown(at["workflow"], "workflow", out_.workflows);
      else
        sub_workflow_input(at, spec.tasks[i]);
    }
  workflow_cycles();
}

void resolver::workflow(const view& from, workflow_spec& into) {
  from["description"].read(into.description);
  schema(from["input"]["schema"], into.input_schema);
  limits_of(from["budget"], into.budget);
  from["result"].read(into.result);
  from["tasks"].each_element([&](std::size_t, const view& each) { task(each, into.tasks.emplace_back()); });
  std::map<std::string_view, std::size_t> ids;
  for (std::size_t i = 0; i < into.tasks.size(); ++i) {
    const auto id = from["tasks"].element(i)["id"];
    if (!id.is_string())
      continue;
    if (const auto [earlier, first] = ids.emplace(into.tasks[i].id, i); !first)
      id.wrong("two tasks have the id " + in_quotes(*id.text()) + "; the first is " + from["tasks"].element(earlier->second).pointer());
  }
  template_scope scope{from, names_of(ids), false};
  for (std::size_t i = 0; i < into.tasks.size(); ++i) {
    const auto at = from["tasks"].element(i);
    auto& spec = into.tasks[i];
    at["needs"].each_element([&](std::size_t, const view& each) {
      if (each.is_string() && ids.count(*each.text()) == 0)
        unknown(each, "task", scope.tasks);
    });
    if (spec.when) {
      if (ids.count(spec.when->task) == 0)
        unknown(at["when"]["task"], "task", scope.tasks);
      else
        spec.needs.push_back(spec.when->task);
    }
    scope.in_for_each = !spec.for_each.empty();
    task_templates(at, spec, scope);
    std::vector<std::string> needs;
    for (std::set<std::string> seen; auto& each : spec.needs)
      if (ids.count(each) > 0 && seen.insert(each).second)
        needs.push_back(std::move(each));
    spec.needs = std::move(needs);
  }
  scope.in_for_each = false;
  check_template(from["result"], scope, nullptr);
  task_cycles(from, into);
}

void resolver::task(const view& from, task_spec& into) {
  from["id"].read(into.id);
  from["needs"].read(into.needs);
  from["agent"].read(into.agent);
  task_agent(from["agent"]);
  from["agents"].read(into.agents);
  from["agents"].each_element([&](std::size_t, const view& each) { task_agent(each); });
  from["workflow"].read(into.workflow);
  from["instruction"].read(into.instruction);
  from["for_each"].read(into.for_each);
  from["parallel"].read(into.parallel);
  if (from["parallel"].present() && !from["for_each"].present())
    from["parallel"].warn_key("no meaning without for_each");
  if (from["when"].is_object()) {
    auto& when = into.when.emplace();
    from["when"]["task"].read(when.task);
    schema(from["when"]["matches"], when.matches);
  }
  if (from["approval"].is_object())
    from["approval"]["risk"].read(into.approval.emplace(risk::high));
  from["attempts"].read(into.attempts);
  if (const auto* word = from["on_failure"].text(); word != nullptr && *word == "continue")
    into.on_failure = on_failure_type::resume;
  if (from["timeout"].present()) {
    into.timeout = milliseconds{1};
    from["timeout"].read_positive(into.timeout);
  }
  from["with"].each_member([&](const std::string& name, const view& value) { into.with[name] = value.value(); });
  limits_of(from["budget"], into.budget);
  task_resolve(from, into);
}

void resolver::task_agent(const view& name) {
  if (!name.is_string())
    return;
  if (out_.agents.count(*name.text()) == 0)
    unknown(name, "agent", out_.agents);
  else if (tree_is_good_ && placed_.count(*name.text()) == 0)
    name.wrong("agent " + in_quotes(*name.text()) + " has no place in the supervision tree; add { agent: " + *name.text()
               + " } or { pool: " + *name.text() + " } to supervision/children");
  else if (const auto& agent = out_.agents.at(*name.text()); tree_is_good_ && agent.output && !agent.output->reviewer.empty()
                                                             && out_.agents.count(agent.output->reviewer) > 0
                                                             && placed_.count(agent.output->reviewer) == 0)
    root_["agents"][agent.name]["output"]["reviewer"].wrong("agent " + in_quotes(agent.output->reviewer)
                                                            + " has no place in the supervision tree; add it to supervision/children");
}

void resolver::task_resolve(const view& from, task_spec& into) {
  const auto resolve = from["resolve"];
  if (!resolve.is_object())
    return;
  auto& made = into.resolve.emplace();
  resolve["by"].read(made.by);
  resolve["quorum"].read(made.quorum);
  resolve["field"].read(made.field);
  resolve["arbiter"].read(made.arbiter);
  task_agent(resolve["arbiter"]);
  made.tie = "fail";
  const auto tie = resolve["tie"];
  tie.read(made.tie);
  if (tie.is_object()) {
    made.tie = "arbiter";
    tie["arbiter"].read(made.arbiter);
    task_agent(tie["arbiter"]);
  }
  if (made.quorum > static_cast<std::int64_t>(into.agents.size()) && from["agents"].is_array())
    resolve["quorum"].wrong("a quorum of " + std::to_string(made.quorum) + " cannot come from " + std::to_string(into.agents.size())
                            + " agents");
  if (const auto at = std::find(into.agents.begin(), into.agents.end(), made.arbiter);
      !made.arbiter.empty() && at != into.agents.end() && !in_.issues.warnings_full())
    from["agents"]
        .element(static_cast<std::size_t>(at - into.agents.begin()))
        .warn("agent " + in_quotes(made.arbiter) + " would decide about its own answer: it is the arbiter too");
  if (made.by == "first")
    first_race(from, into);
}

/// The losers of a race are cancelled wherever they are: only tools without an effect bear that (SEMANTICS 6).
void resolver::first_race(const view& from, const task_spec& spec) {
  for (std::size_t i = 0; i < spec.agents.size(); ++i) {
    const auto agent = out_.agents.find(spec.agents[i]);
    if (agent == out_.agents.end() || in_.issues.errors_full())
      continue;
    if (const auto found = racing_effect(agent->second); found.tool != nullptr)
      from["agents"].element(i).wrong(
          "agent " + in_quotes(agent->first) + " may"
          + (found.by == &agent->second ? "" : ", through agent " + in_quotes(found.by->name) + ",") + " call "
          + in_quotes(found.tool->name) + ", whose effect is " + name_of(possible_effect(*found.tool))
          + ", but the losers of a race (resolve: first) are stopped half-way; use only tools with effect: none");
  }
}

/// The first tool that has an effect and that is reached through the agent: by itself, by one that it asks or hands over to, or by who
/// reviews its answer; null: there is none.
resolver::effect_in_race resolver::racing_effect(const agent_spec& agent) {
  const auto [known, added] = effect_of_agent_.try_emplace(agent.name);
  if (!added)
    return known->second;
  // Whoever works for it, or goes on in its place, must not do more. In a review the contract of the review stands in the place of the
  // reviewer's own, so that it has no reviewer itself.
  struct role {
    const agent_spec* who;
    bool reviews;
  };
  std::vector<role> all{{&agent, false}};
  std::set<std::pair<std::string_view, bool>> seen{{agent.name, false}};
  const auto add = [&](const std::string& name, bool reviews) {
    if (const auto other = out_.agents.find(name); other != out_.agents.end() && seen.emplace(other->first, reviews).second)
      all.push_back({&other->second, reviews});
  };
  for (std::size_t at = 0; at < all.size(); ++at) {
    const auto [who, reviews] = all[at];
    for (const auto& name : who->tools)
      if (const auto* tool = racing_effect(name); tool != nullptr)
        return known->second = {tool, who};
    for (const auto* others : {&who->delegates, &who->handoffs})
      for (const auto& name : *others)
        add(name, false);
    if (who->output && !reviews)
      add(who->output->reviewer, true);
  }
  return known->second;
}

/// The same of a tool and its alternatives. Each tool is looked at once.
const tool_spec* resolver::racing_effect(const std::string& name) {
  std::vector<std::map<std::string, const tool_spec*>::iterator> way;
  const tool_spec* found = nullptr;
  for (auto tool = out_.tools.find(name); tool != out_.tools.end() && found == nullptr; tool = out_.tools.find(tool->second.alternative)) {
    const auto [known, added] = effect_of_tool_.emplace(tool->first, nullptr);
    if (!added) {
      found = known->second;
      break;
    }
    way.push_back(known);
    if (possible_effect(tool->second) != effect::none)
      found = &tool->second;
  }
  for (const auto& each : way)
    each->second = found;
  return found;
}

void resolver::task_cycles(const view& from, const workflow_spec& workflow) {
  std::map<std::string_view, std::size_t> numbers;
  for (std::size_t i = 0; i < workflow.tasks.size(); ++i)
    numbers.emplace(workflow.tasks[i].id, i);
  graph needs(workflow.tasks.size());
  for (std::size_t i = 0; i < workflow.tasks.size(); ++i)
    for (const auto& need : workflow.tasks[i].needs)
      needs[i].push_back(numbers.at(need));
  for (const auto& cycle : find_cycles(needs)) {
    const auto at = from["tasks"].element(cycle.front());
    const auto id = in_quotes(workflow.tasks[cycle.front()].id);
    if (cycle.size() == 1) {
      at.wrong_key("task " + id + " needs itself");
      continue;
    }
    std::string way = "tasks need each other in a circle: ";
    for (std::size_t i = 0; i < std::min<std::size_t>(cycle.size(), 10); ++i)
      way.append(in_quotes(workflow.tasks[cycle[i]].id)).append(" → ");
    at.wrong_key(way.append(cycle.size() > 10 ? "… → " : "").append(id));
  }
}

namespace {

constexpr std::size_t nesting_max = 30; ///< a request counts for two scopes a level, and for 64 at most

/// By workflow, how many stand below it, itself included; of a graph without cycles. `next`: which of them the longest way leads to.
std::vector<std::size_t> heights_of(const graph& runs, std::vector<std::size_t>& next) {
  std::vector<std::size_t> height(runs.size(), 0);
  next.assign(runs.size(), runs.size());
  for (std::size_t start = 0; start < runs.size(); ++start) {
    std::vector<std::pair<std::size_t, std::size_t>> way{{start, 0}}; // on the heap: a chain may be long
    while (!way.empty()) {
      auto& [at, edge] = way.back();
      if (height[at] != 0) {
        way.pop_back();
        continue;
      }
      if (edge < runs[at].size()) {
        const auto below = runs[at][edge++];
        way.emplace_back(below, 0);
        continue;
      }
      for (const auto below : runs[at])
        if (next[at] == runs.size() || height[below] > height[next[at]])
          next[at] = below;
      height[at] = 1 + (next[at] == runs.size() ? 0 : height[next[at]]);
      way.pop_back();
    }
  }
  return height;
}

} // namespace

void resolver::workflow_nesting(const graph& runs, const std::vector<std::string>& names) {
  std::vector<std::size_t> next;
  const auto height = heights_of(runs, next);
  std::vector<bool> has_parent(runs.size(), false);
  for (const auto& below : runs)
    for (const auto each : below)
      has_parent[each] = true;
  for (std::size_t top = 0; top < runs.size(); ++top) {
    if (has_parent[top] || height[top] <= nesting_max)
      continue;
    std::string way;
    std::size_t at = top;
    for (int shown = 0; shown < 5 && at != runs.size(); ++shown, at = next[at])
      way += in_quotes(names[at]) + " → ";
    root_["workflows"][names[top]].wrong_key("workflows run each other " + std::to_string(height[top]) + " deep, at most "
                                             + std::to_string(nesting_max) + " are run: " + way + "…");
  }
}

void resolver::workflow_cycles() {
  std::map<std::string_view, std::size_t> numbers;
  std::vector<std::string> names;
  for (const auto& [name, spec] : out_.workflows) {
    numbers.emplace(name, names.size());
    names.push_back(name);
  }
  graph runs(names.size());
  std::vector<std::vector<std::size_t>> by_task(names.size());
  for (const auto& [name, spec] : out_.workflows)
    for (std::size_t i = 0; i < spec.tasks.size(); ++i)
      if (const auto found = numbers.find(spec.tasks[i].workflow); found != numbers.end()) {
        runs[numbers.at(name)].push_back(found->second);
        by_task[numbers.at(name)].push_back(i);
      }
  const auto cycles = find_cycles(runs);
  if (cycles.empty())
    workflow_nesting(runs, names);
  for (const auto& cycle : cycles) {
    // The edge that closes the circle is in its last workflow.
    const auto last = cycle.back();
    std::size_t edge = 0;
    while (runs[last][edge] != cycle.front())
      ++edge;
    std::string way;
    for (std::size_t i = 0; i < std::min<std::size_t>(cycle.size(), 10); ++i)
      way += in_quotes(names[cycle[i]]) + " → ";
    root_["workflows"][names[last]]["tasks"].element(by_task[last][edge])["workflow"].wrong(
        "workflows run each other without end: " + way + (cycle.size() > 10 ? "… → " : "") + in_quotes(names[cycle.front()]));
  }
}

/// What the sub-workflow's schema requires must be in `with`.
void resolver::sub_workflow_input(const view& from, const task_spec& spec) {
  const auto& input = out_.workflows.at(spec.workflow).input_schema;
  if (!input.is_object())
    return;
  if (const auto required = input.find("required"); required != input.end() && required->is_array()) {
    for (const auto& each : *required) {
      if (in_.issues.errors_full())
        return;
      if (each.is_string() && spec.with.count(each.get_ref<const std::string&>()) == 0)
        from.wrong_key("workflow " + in_quotes(spec.workflow) + " requires the input " + in_quotes(each.get_ref<const std::string&>())
                       + "; add it to with");
    }
  }
  const auto properties = input.find("properties");
  if (properties == input.end() || !properties->is_object())
    return;
  for (const auto& [name, each] : spec.with)
    if (properties->find(name) == properties->end() && !in_.issues.warnings_full())
      from["with"][name].warn_key("the input of workflow " + in_quotes(spec.workflow) + " has no property " + in_quotes(name)
                                  + did_you_mean(name, names_of(properties->get_ref<const json::object_t&>())));
}

} // namespace troupe::config
