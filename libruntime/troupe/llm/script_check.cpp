#include "troupe/llm/script_check.hpp"

#include <algorithm>

#include "troupe/util/duration.hpp"
#include "troupe/util/json_pointer.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::llm::detail {

namespace {

constexpr std::size_t most_problems = 100;
constexpr std::size_t most_pattern_bytes = 1'000;
constexpr int most_groups = 16;

} // namespace

std::string spot::child(std::string_view key) const {
  std::string out = pointer;
  append_token(out, key);
  return out;
}

bool checker::wrong(const std::string& pointer, std::string words) {
  if (problems.size() < most_problems)
    problems.push_back({error_code::invalid_argument, std::move(words), pointer.empty() ? "/" : pointer});
  return false;
}

bool checker::object(const spot& value, std::string_view what, std::initializer_list<std::string_view> keys) {
  const std::vector<std::string_view> known(keys);
  std::string list;
  for (const auto key : known)
    list.append(list.empty() ? "" : ", ").append(key);
  if (!value.value.is_object())
    return wrong(value.pointer, std::string(what) + " is a mapping with the keys " + list + ", found " + value.value.type_name());
  bool good = true;
  for (const auto& entry : value.value.items())
    if (std::find(known.begin(), known.end(), entry.key()) == known.end())
      good = wrong(value.child(entry.key()), "unknown key " + in_quotes(entry.key()) + " in " + std::string(what)
                                                 + did_you_mean(entry.key(), known) + (known.size() > 12 ? "" : " Known are: " + list));
  return good;
}

bool checker::text(const spot& value, std::string& into, std::size_t most) {
  if (!value.value.is_string())
    return wrong(value.pointer, std::string("a text is wanted, found ") + value.value.type_name() + "; put it in quotes");
  into = value.value.get_ref<const std::string&>();
  return into.size() <= most
         || wrong(value.pointer, "the text has " + std::to_string(into.size()) + " bytes, at most are " + std::to_string(most));
}

bool checker::whole(const spot& value, std::int64_t& into, std::int64_t least, std::int64_t most) {
  const bool fits = value.value.is_number_integer()
                    && (!value.value.is_number_unsigned() || value.value.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX));
  if (!fits || value.value.get<std::int64_t>() < least || value.value.get<std::int64_t>() > most)
    return wrong(value.pointer, "a whole number from " + std::to_string(least) + " to " + std::to_string(most) + " is wanted, found "
                                    + value.value.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 80));
  into = value.value.get<std::int64_t>();
  return true;
}

bool checker::flag(const spot& value, bool& into) {
  if (!value.value.is_boolean())
    return wrong(value.pointer, std::string("true or false is wanted, found ") + value.value.type_name());
  into = value.value.get<bool>();
  return true;
}

bool checker::duration(const spot& value, std::chrono::milliseconds& into) {
  std::string written;
  if (!text(value, written, 100))
    return false;
  const auto read = parse_duration(written);
  if (!read)
    return wrong(value.pointer, read.error().message);
  into = *read;
  return true;
}

std::unique_ptr<RE2> checker::pattern(const spot& value, bool lines) {
  std::string written;
  if (!text(value, written, most_pattern_bytes))
    return nullptr;
  RE2::Options options;
  options.set_log_errors(false);
  auto compiled = std::make_unique<RE2>((lines ? "(?m)" : "") + written, options);
  if (!compiled->ok()) {
    wrong(value.pointer, "no regular expression (RE2 syntax): " + compiled->error() + ": " + in_quotes(compiled->error_arg()));
    return nullptr;
  }
  if (compiled->NumberOfCapturingGroups() > most_groups) {
    wrong(value.pointer, "a pattern has at most 16 groups");
    return nullptr;
  }
  return compiled;
}

bool checker::text_template_of(const spot& value, const template_names& names, text_template& into) {
  std::string written;
  std::string problem;
  if (!text(value, written))
    return false;
  return compile(written, names, into, problem) || wrong(value.pointer, problem);
}

} // namespace troupe::llm::detail
