#include "troupe/policy/task_graph_plan.hpp"

#include <algorithm>
#include <set>

namespace troupe::policy {

namespace {

constexpr std::size_t max_tasks = 10'000;

} // namespace

expected<template_document> template_document::parse(const json& document) {
  template_document out;
  if (document.is_string()) {
    auto text = text_template::parse(document.get_ref<const std::string&>());
    if (!text)
      return tl::unexpected<error>(std::move(text.error()));
    out.node_ = std::move(*text);
  } else if (document.is_array()) {
    std::vector<template_document> parts;
    for (const auto& element : document) {
      auto part = parse(element);
      if (!part)
        return part;
      parts.push_back(std::move(*part));
    }
    out.node_ = std::move(parts);
  } else if (document.is_object()) {
    std::vector<std::pair<std::string, template_document>> parts;
    for (const auto& [key, value] : document.items()) {
      auto part = parse(value);
      if (!part)
        return part;
      parts.emplace_back(key, std::move(*part));
    }
    out.node_ = std::move(parts);
  } else {
    out.node_ = document;
  }
  return out;
}

json template_document::evaluate(const json& scope) const {
  if (const auto* literal = std::get_if<json>(&node_))
    return *literal;
  if (const auto* text = std::get_if<text_template>(&node_))
    return text->evaluate(scope);
  if (const auto* parts = std::get_if<std::vector<template_document>>(&node_)) {
    json out = json::array();
    for (const auto& part : *parts)
      out.push_back(part.evaluate(scope));
    return out;
  }
  json out = json::object();
  for (const auto& [key, part] : std::get<3>(node_))
    out[key] = part.evaluate(scope);
  return out;
}

void template_document::collect(std::vector<text_template::path>& paths) const {
  if (const auto* text = std::get_if<text_template>(&node_))
    paths.insert(paths.end(), text->paths().begin(), text->paths().end());
  else if (const auto* array = std::get_if<std::vector<template_document>>(&node_))
    for (const auto& part : *array)
      part.collect(paths);
  else if (const auto* object = std::get_if<3>(&node_))
    for (const auto& [key, part] : *object)
      part.collect(paths);
}

namespace {

using names_of_tasks = std::set<std::string>;

bool is_state(const text_template::path& path) {
  return !path.empty() && path[0] == "state";
}

/// What a template reads beside inputs and outputs.
void note_reads(const text_template::path& path, graph_plan& plan) {
  plan.reads_state = plan.reads_state || is_state(path);
  plan.reads_costs = plan.reads_costs || (!path.empty() && path[0] == "tasks" && (path.size() < 3 || path[2] == "cost_usd"));
}

/// Compiles one task's texts, and adds what they read to `needs`.
expected<graph_plan::task> compile(const task_spec& spec, names_of_tasks& needs, graph_plan& plan) {
  graph_plan::task out;
  std::vector<text_template::path> paths;
  auto text = [&](const std::string& from, text_template& to) -> expected<void> {
    auto parsed = text_template::parse(from);
    if (!parsed)
      return tl::unexpected<error>(std::move(parsed.error()));
    to = std::move(*parsed);
    paths.insert(paths.end(), to.paths().begin(), to.paths().end());
    return {};
  };
  if (auto ok = text(spec.instruction, out.instruction); !ok)
    return tl::unexpected<error>(std::move(ok.error()));
  if (auto ok = text(spec.for_each, out.for_each); !ok)
    return tl::unexpected<error>(std::move(ok.error()));
  json with = json::object();
  for (const auto& [key, value] : spec.with)
    with[key] = value;
  auto document = template_document::parse(with);
  if (!document)
    return tl::unexpected<error>(std::move(document.error()));
  out.with = std::move(*document);
  const auto of_with = static_cast<std::ptrdiff_t>(paths.size());
  out.with.collect(paths);
  out.with_of_state = std::any_of(paths.begin() + of_with, paths.end(), is_state);
  out.items_of_state = std::any_of(out.for_each.paths().begin(), out.for_each.paths().end(), is_state);
  if (spec.when) {
    auto schema = schema::compiled_schema::compile(spec.when->matches);
    if (!schema)
      return tl::unexpected<error>(std::move(schema.error()));
    out.when = std::move(*schema);
    needs.insert(spec.when->task);
  }
  for (const auto& path : paths) {
    if (path.size() >= 2 && path[0] == "tasks")
      needs.insert(path[1]);
    note_reads(path, plan);
  }
  return out;
}

/// The tasks of a cycle, "a -> b -> a"; empty: there is none.
std::string find_cycle(const workflow_spec& workflow, const std::vector<graph_plan::task>& tasks) {
  std::vector<std::size_t> missing(tasks.size());
  for (const auto& t : tasks)
    for (auto d : t.dependents)
      ++missing[d];
  std::vector<std::size_t> order;
  for (std::size_t n = 0; n < tasks.size(); ++n)
    if (missing[n] == 0)
      order.push_back(n);
  for (std::size_t at = 0; at < order.size(); ++at)
    for (auto d : tasks[order[at]].dependents)
      if (--missing[d] == 0)
        order.push_back(d);
  if (order.size() == tasks.size())
    return {};
  // Each one that is left needs one that is left: going back along needs must come to one seen before.
  std::vector<std::size_t> needed_by(tasks.size());
  for (std::size_t n = 0; n < tasks.size(); ++n)
    for (auto d : tasks[n].dependents)
      if (missing[n] > 0 && missing[d] > 0)
        needed_by[d] = n;
  auto at = static_cast<std::size_t>(std::find_if(missing.begin(), missing.end(), [](std::size_t m) { return m > 0; }) - missing.begin());
  for (std::size_t n = 0; n < tasks.size(); ++n)
    at = needed_by[at];
  std::string text = workflow.tasks[at].id;
  for (auto n = needed_by[at];; n = needed_by[n]) {
    text += " -> " + workflow.tasks[n].id;
    if (n == at)
      return text;
  }
}

} // namespace

expected<graph_plan> graph_plan::make(workflow_spec workflow) {
  graph_plan plan;
  plan.workflow = std::move(workflow);
  const auto& w = plan.workflow;
  auto wrong = [&](const std::string& task, std::string message) {
    return fail(error_code::invalid_argument, std::move(message), task.empty() ? w.name : w.name + "/" + task);
  };
  if (w.tasks.size() > max_tasks)
    return wrong({}, "a workflow has at most " + std::to_string(max_tasks) + " tasks, this one has " + std::to_string(w.tasks.size()));
  for (std::size_t n = 0; n < w.tasks.size(); ++n) {
    const auto& t = w.tasks[n];
    if (t.id.empty())
      return wrong({}, "task " + std::to_string(n + 1) + " has no id");
    if (!plan.ids.emplace(t.id, n).second)
      return wrong(t.id, "two tasks have the id \"" + t.id + "\"");
    if ((t.agent.empty() ? 0 : 1) + (t.agents.empty() ? 0 : 1) + (t.workflow.empty() ? 0 : 1) != 1)
      return wrong(t.id, "a task names exactly one of `agent`, `agents`, `workflow`");
  }
  plan.tasks.resize(w.tasks.size());
  for (std::size_t n = 0; n < w.tasks.size(); ++n) {
    const auto& t = w.tasks[n];
    names_of_tasks needs(t.needs.begin(), t.needs.end());
    auto dependents = std::move(plan.tasks[n].dependents);
    auto compiled = compile(t, needs, plan);
    if (!compiled)
      return wrong(t.id, compiled.error().text());
    plan.tasks[n] = std::move(*compiled);
    plan.tasks[n].dependents = std::move(dependents);
    for (const auto& need : needs) {
      auto it = plan.ids.find(need);
      if (it == plan.ids.end())
        return wrong(t.id, "it needs \"" + need + "\", but there is no task of that name");
      plan.tasks[it->second].dependents.push_back(n);
    }
  }
  if (auto cycle = find_cycle(w, plan.tasks); !cycle.empty())
    return wrong({}, "tasks need each other in a cycle: " + cycle);
  auto result = text_template::parse(w.result);
  if (!result)
    return wrong({}, "result: " + result.error().text());
  for (const auto& path : result->paths()) {
    note_reads(path, plan);
    if (path.size() >= 2 && path[0] == "tasks" && plan.ids.count(path[1]) == 0)
      return wrong({}, "result: there is no task \"" + path[1] + "\"");
  }
  plan.result = std::move(*result);
  return plan;
}

json graph_plan::result_of(const json& scope) const {
  if (!workflow.result.empty())
    return result.evaluate(scope);
  return workflow.tasks.empty() ? json() : output_of(scope, workflow.tasks.back().id);
}

const json& graph_plan::output_of(const json& scope, const std::string& task) {
  static const json none;
  const auto* output = value_at(scope, {"tasks", task, "output"});
  return output ? *output : none;
}

} // namespace troupe::policy
