#include "troupe/model/event.hpp"

#include "troupe/model/described.hpp"
#include "troupe/model/event_types.hpp"

namespace troupe {

std::string_view type_of(const event& e) {
  return event_type_names()[e.body.index()];
}

json body_to_document(const event_body& body) {
  return std::visit([](const auto& b) { return to_document(b); }, body);
}

json event_to_document(const event& e) {
  json out = body_to_document(e.body);
  out["seq"] = e.seq;
  out["time_us"] = e.time_us;
  out["type"] = type_of(e);
  out["run_id"] = e.run_id;
  if (!e.task.empty())
    out["task_id"] = e.task;
  if (!e.agent.empty())
    out["agent"] = e.agent;
  return out;
}

namespace {

template <std::size_t I = 0>
expected<event_body> read_body(std::size_t index, const json& document) {
  if constexpr (I < std::variant_size_v<event_body>) {
    if (index != I)
      return read_body<I + 1>(index, document);
    auto body = from_document<std::variant_alternative_t<I, event_body>>(document);
    if (!body)
      return tl::unexpected<error>(body.error());
    return event_body(std::in_place_index<I>, std::move(*body));
  } else {
    return fail(error_code::corrupt, "no event of this type");
  }
}

} // namespace

expected<event_body> body_from_document(std::string_view type, const json& document) {
  const auto& names = event_type_names();
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == type)
      return read_body(i, document);
  return fail(error_code::corrupt, "unknown event type \"" + std::string(type) + "\"; it was written by a newer troupe");
}

} // namespace troupe
