#include "troupe/actors/caf.hpp"

namespace troupe::actors {

namespace {

/// The strings that `crash_error` and `poison_error` put into the error's context, in order.
std::string context_text(const caf::error& reason, std::size_t index) {
  const auto& context = reason.context();
  if (context.size() > index && context.match_element<std::string>(index))
    return context.get_as<std::string>(index);
  return {};
}

} // namespace

bool is_poison(const caf::error& reason) {
  return reason == caf::sec::runtime_error && reason.context().size() == 2 && context_text(reason, 0) == "poison";
}

bool is_replaced(const caf::error& reason) {
  return reason == caf::sec::runtime_error && reason.context().size() == 2 && context_text(reason, 0) == "replaced";
}

bool is_escalation(const caf::error& reason) {
  return reason == caf::sec::runtime_error && reason.context().size() == 2 && context_text(reason, 0) == "escalation";
}

std::string text_of(const caf::error& reason) {
  if (!reason)
    return "normal";
  if (reason == caf::sec::runtime_error) {
    auto text = context_text(reason, reason.context().size() == 2 ? 1 : 0);
    if (!text.empty())
      return text;
  }
  if (reason == caf::exit_reason::user_shutdown)
    return "shutdown";
  if (reason == caf::exit_reason::kill)
    return "killed";
  return caf::to_string(reason);
}

} // namespace troupe::actors
