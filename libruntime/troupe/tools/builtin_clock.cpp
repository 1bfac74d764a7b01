// The builtin `clock`: what time it is.
#include "troupe/tools/builtin_parts.hpp"
#include "troupe/util/clock.hpp"

namespace troupe::tools {

namespace {

tool_declaration declare_clock() {
  return {"clock",
          "The current date and time in UTC, as ISO 8601.",
          {{"type", "object"}, {"properties", json::object()}, {"additionalProperties", false}},
          effect::none,
          risk::low};
}

expected<std::unique_ptr<runner>> make_clock(const tool_spec&, environment&) {
  return answering_runner([](const json&) { return tool_outcome{tool_status::ok, iso8601_utc(utc_now_us()), {}, 0, false}; });
}

} // namespace

const builtin_row clock_row{"clock", &declare_clock, &make_clock};

} // namespace troupe::tools
