#include "troupe/llm/tool_texts.hpp"

#include <algorithm>

namespace troupe::llm {

std::string parameters_text(const json& parameters) {
  const auto text = [](const json& schema) { return schema.dump(-1, ' ', false, json::error_handler_t::replace); };
  if (!parameters.is_object() || parameters.empty())
    return R"({"type":"object","properties":{}})";
  if (parameters.contains("type") && parameters.contains("properties"))
    return text(parameters);
  auto whole = parameters;
  whole.emplace("type", "object");
  whole.emplace("properties", json::object());
  return text(whole);
}

std::shared_ptr<const std::string> tool_texts::of(const tool_declarations& tools) const {
  if (!tools || tools->empty())
    return nullptr;
  const auto is_it = [&](const entry& each) { return !each.tools.owner_before(tools) && !tools.owner_before(each.tools); };
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = std::find_if(entries_.begin(), entries_.end(), is_it); found != entries_.end())
      return found->text;
  }
  auto text = std::make_shared<const std::string>(write_(*tools));
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [](const entry& each) { return each.tools.expired(); });
  if (entries_.size() < 256)
    entries_.push_back({tools, text});
  return text;
}

} // namespace troupe::llm
