#pragma once
// Reads the values of a script one by one, and collects what is wrong with them.

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <re2/re2.h>

#include "troupe/llm/script_template.hpp"
#include "troupe/model/error.hpp"

namespace troupe::llm::detail {

/// A value of the document and where it stands.
struct spot {
  const json& value;
  std::string pointer;

  spot at(const std::string& key) const { return {value.at(key), child(key)}; }
  spot at(std::size_t index) const { return {value.at(index), pointer + "/" + std::to_string(index)}; }
  bool has(const char* key) const { return value.contains(key); }
  std::string child(std::string_view key) const;
};

/// Each reader returns false (or nothing) after it has added a problem at the value's pointer.
class checker {
public:
  std::vector<error> problems;

  bool wrong(const std::string& pointer, std::string words);
  /// An object that has no keys but these.
  bool object(const spot& value, std::string_view what, std::initializer_list<std::string_view> keys);
  bool text(const spot& value, std::string& into, std::size_t most = 64u << 10);
  bool whole(const spot& value, std::int64_t& into, std::int64_t least, std::int64_t most);
  bool flag(const spot& value, bool& into);
  bool duration(const spot& value, std::chrono::milliseconds& into);
  /// A pattern, compiled; `lines`: ^ and $ match at each line.
  std::unique_ptr<RE2> pattern(const spot& value, bool lines);
  bool text_template_of(const spot& value, const template_names& names, text_template& into);
};

} // namespace troupe::llm::detail
