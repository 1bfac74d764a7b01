#include "troupe/config/located.hpp"

#include <algorithm>
#include <charconv>

#include "troupe/config/problem.hpp"

namespace troupe::config {

const place* place::member(std::string_view wanted) const {
  if (is_array)
    return nullptr;
  const auto found =
      std::lower_bound(children.begin(), children.end(), wanted, [](const place& a, std::string_view b) { return a.name < b; });
  return found != children.end() && found->name == wanted ? &*found : nullptr;
}

located_document::found_place located_document::find(std::string_view pointer) const {
  const place* at = &root;
  for (const auto& token : pointer_tokens(pointer)) {
    const place* next = nullptr;
    if (at->is_array) {
      std::size_t index = 0;
      const auto [end, code] = std::from_chars(token.data(), token.data() + token.size(), index);
      if (code == std::errc{} && end == token.data() + token.size() && index < at->children.size())
        next = &at->children[index];
    } else {
      next = at->member(token);
    }
    if (next == nullptr)
      return {at, false};
    at = next;
  }
  return {at, true};
}

position located_document::key_position_of(std::string_view pointer) const {
  const auto* at = find(pointer).at;
  return at->key.line > 0 ? at->key : at->value;
}

} // namespace troupe::config
