// The builtins `state_get` and `state_set`: what the agents of one run share. Their host calls the run's state itself
// (policy/shared_state): a runner knows no run.
#include "troupe/tools/builtin_parts.hpp"

namespace troupe::tools {

namespace {

const json key_schema = {{"type", "string"}, {"description", "for example plan or team/plan"}, {"minLength", 1}, {"maxLength", 128}};

tool_declaration declare_get() {
  return {"state_get",
          "What the agents of this run share under a key: its value, its version and who wrote it. Without a key: the keys that there are.",
          {{"type", "object"}, {"properties", {{"key", key_schema}}}, {"additionalProperties", false}},
          effect::none,
          risk::low};
}

tool_declaration declare_set() {
  return {"state_set",
          "Writes a value for all agents of this run. `version` is the one that state_get told (0: nobody has written the key yet). If "
          "another agent "
          "has written it meanwhile nothing is written, and you are told what it is now.",
          {{"type", "object"},
           {"required", {"key", "value", "version"}},
           {"properties",
            {{"key", key_schema},
             {"value", {{"description", "any JSON"}}},
             {"version", {{"type", "integer"}, {"minimum", 0}, {"description", "the version that your value is based on"}}}}},
           {"additionalProperties", false}},
          effect::idempotent,
          risk::low};
}

expected<std::unique_ptr<runner>> make_state(const tool_spec& spec, environment&) {
  return answering_runner([tool = spec.name](const json&) { return builtin_failure(tool, "there is no run whose state this could be"); });
}

} // namespace

const builtin_row state_get_row{"state_get", &declare_get, &make_state};
const builtin_row state_set_row{"state_set", &declare_set, &make_state};

} // namespace troupe::tools
