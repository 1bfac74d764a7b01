#include "troupe/llm/tool_texts.hpp"

#include <algorithm>

namespace troupe::llm {

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
