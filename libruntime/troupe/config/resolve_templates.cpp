// Templates of workflows: their roots, and the needs that they imply.

#include <algorithm>

#include "troupe/config/resolver.hpp"
#include "troupe/config/template_scope.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

/// What a task shows of itself (the row of the result document, INTERFACES 2).
const std::vector<std::string_view>& task_fields() {
  static const std::vector<std::string_view> fields{"output", "status", "error", "agent", "attempts", "cost_usd", "items"};
  return fields;
}

} // namespace

void resolver::task_templates(const view& from, task_spec& into, const template_scope& scope) {
  check_template(from["instruction"], scope, &into);
  auto outside = scope;
  outside.in_for_each = false;
  check_template(from["for_each"], outside, &into);
  if (const auto each = from["for_each"]; each.is_string())
    if (const auto parsed = text_template::parse(*each.text()); parsed && !parsed->is_path())
      each.wrong("a text is no list; name exactly one list, as in \"{{ tasks.check.output.facts }}\"");
  with_templates(from["with"], scope, into);
}

/// Depth is bounded by the reader.
void resolver::with_templates(const view& part, const template_scope& scope, task_spec& into) {
  check_template(part, scope, &into);
  part.each_member([&](const std::string&, const view& each) { with_templates(each, scope, into); });
  part.each_element([&](std::size_t, const view& each) { with_templates(each, scope, into); });
}

void resolver::check_template(const view& text, const template_scope& scope, task_spec* reader) {
  const auto parsed = parse_template(text);
  if (!parsed)
    return;
  for (const auto& path : parsed->paths()) {
    const auto& root = path.front();
    if (root == "tasks") {
      if (path.size() < 2) {
        text.wrong("\"tasks\" is no value; name a task and what of it is meant, as in {{ tasks.research.output }}");
      } else if (!std::binary_search(scope.tasks.begin(), scope.tasks.end(), path[1])) {
        if (!in_.issues.errors_full())
          text.wrong("no task named " + in_quotes(path[1]) + did_you_mean(path[1], scope.tasks));
      } else {
        if (path.size() > 2 && std::find(task_fields().begin(), task_fields().end(), path[2]) == task_fields().end())
          text.wrong("a task has no " + in_quotes(path[2]) + did_you_mean(path[2], task_fields())
                     + " (it has output, status, error, agent, attempts, cost_usd, items)");
        if (reader != nullptr)
          reader->needs.push_back(path[1]);
      }
    } else if (root == "input") {
      const auto properties = scope.workflow["input"]["schema"]["properties"];
      if (path.size() < 2 || !properties.is_object() || properties.value().contains(path[1]) || in_.issues.warnings_full())
        continue;
      text.warn("the schema of the input has no property " + in_quotes(path[1])
                + did_you_mean(path[1], names_of(properties.value().get_ref<const json::object_t&>())));
    } else if (root == "item" || root == "index") {
      if (!scope.in_for_each)
        text.wrong(in_quotes(root) + " stands only in the instruction and the with of a task with for_each");
    } else if (root != "state") {
      static const std::vector<std::string_view> roots{"input", "tasks", "item", "index", "state"};
      text.wrong("a template cannot read " + in_quotes(root) + did_you_mean(root, roots)
                 + " (it reads input, tasks, state, and item and index of a for_each)");
    }
  }
}

} // namespace troupe::config
