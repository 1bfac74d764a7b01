#pragma once
// A workflow, compiled: templates, conditions, and who depends on whom. What `task_graph` works from.

#include <cstddef>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/policy/template.hpp"
#include "troupe/schema/schema.hpp"

namespace troupe::policy {

/// JSON whose strings are templates: `with` of a sub-workflow. Keys are taken as they are.
class template_document {
public:
  static expected<template_document> parse(const json& document);
  json evaluate(const json& scope) const;
  /// Appends what its templates read.
  void collect(std::vector<text_template::path>& paths) const;

private:
  std::variant<json, text_template, std::vector<template_document>, std::vector<std::pair<std::string, template_document>>> node_;
};

struct graph_plan {
  struct task {
    text_template instruction;
    text_template for_each;
    template_document with;
    std::optional<schema::compiled_schema> when;
    std::vector<std::size_t> dependents;
    bool items_of_state = false; // for_each reads it
    bool with_of_state = false;
  };

  workflow_spec workflow;
  std::vector<task> tasks; // as in `workflow.tasks`
  std::unordered_map<std::string, std::size_t> ids;
  text_template result;
  bool reads_state = false; // some template does
  bool reads_costs = false; // likewise, of a task

  /// `invalid_argument`; `where` is "workflow/task". At most 10,000 tasks.
  static expected<graph_plan> make(workflow_spec workflow);
  /// The run's result: `scope` has all outputs.
  json result_of(const json& scope) const;
  /// Null where the task has none.
  static const json& output_of(const json& scope, const std::string& task);
};

} // namespace troupe::policy
