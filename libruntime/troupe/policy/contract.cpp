#include "troupe/policy/contract.hpp"

#include <algorithm>
#include <utility>

#include "troupe/policy/json_in_text.hpp"
#include "troupe/schema/pattern.hpp"
#include "troupe/schema/values.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe {

namespace {

constexpr std::size_t max_violations = 20;
constexpr std::size_t max_pattern_shown = 200;

using re2_pattern = std::shared_ptr<const RE2>;

struct mention {
  std::string words;
  re2_pattern pattern; ///< the words without regard to case
};

std::string shown(std::string_view pattern) {
  return std::string(utf8_prefix(pattern, max_pattern_shown));
}

std::string characters(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " character" : " characters");
}

expected<re2_pattern> pattern_of(const std::string& text, const char* where) {
  if (text.empty())
    return re2_pattern{};
  auto compiled = schema::compile_re2(text);
  if (!compiled)
    return fail(error_code::invalid_argument, compiled.error().message, where);
  return *compiled;
}

/// All strings inside a value: what a JSON answer says, without its escapes. Does not recurse.
std::string strings_of(const json& value) {
  std::string out;
  std::vector<const json*> open{&value};
  while (!open.empty()) {
    const auto* next = open.back();
    open.pop_back();
    if (next->is_string())
      out.append(next->get_ref<const std::string&>()).push_back('\n');
    else if (next->is_structured())
      for (const auto& child : *next)
        open.push_back(&child);
  }
  return out;
}

} // namespace

struct contract::impl {
  std::optional<schema::compiled_schema> schema;
  std::optional<std::size_t> min_length;
  std::optional<std::size_t> max_length;
  re2_pattern matches;
  re2_pattern not_matches;
  std::vector<mention> mentions;

  void text_rules(std::string_view text, const json* value, std::vector<schema::violation>& found) const;
};

expected<contract> contract::compile(const output_spec& spec) {
  auto rules = std::make_shared<impl>();
  if (!spec.schema.is_null()) {
    auto compiled = schema::compiled_schema::compile(spec.schema);
    if (!compiled)
      return fail(error_code::invalid_argument, compiled.error().message, "/schema" + compiled.error().where);
    rules->schema = *std::move(compiled);
  }
  const auto length = [](const std::optional<std::int64_t>& given) {
    return given ? std::optional(static_cast<std::size_t>(*given)) : std::nullopt;
  };
  if (spec.min_length.value_or(0) < 0)
    return fail(error_code::invalid_argument, "min_length must be at least 0 characters", "/min_length");
  if (spec.max_length.value_or(0) < 0)
    return fail(error_code::invalid_argument, "max_length must be at least 0 characters", "/max_length");
  if (spec.min_length && spec.max_length && *spec.min_length > *spec.max_length)
    return fail(error_code::invalid_argument, "min_length is more than max_length: no answer could be accepted", "/min_length");
  rules->min_length = length(spec.min_length);
  rules->max_length = length(spec.max_length);
  auto matches = pattern_of(spec.matches, "/matches");
  if (!matches)
    return tl::unexpected<error>(matches.error());
  rules->matches = *matches;
  auto not_matches = pattern_of(spec.not_matches, "/not_matches");
  if (!not_matches)
    return tl::unexpected<error>(not_matches.error());
  rules->not_matches = *not_matches;
  for (std::size_t i = 0; i < spec.must_mention.size(); ++i) {
    const auto& words = spec.must_mention[i];
    auto compiled = pattern_of("(?i)" + RE2::QuoteMeta(words), "");
    if (words.empty() || !compiled)
      return fail(error_code::invalid_argument, words.empty() ? "must_mention holds an empty text" : compiled.error().message,
                  "/must_mention/" + std::to_string(i));
    rules->mentions.push_back({words, *compiled});
  }
  contract out;
  out.impl_ = std::move(rules);
  return out;
}

bool contract::expects_json() const {
  return impl_->schema.has_value();
}

void contract::impl::text_rules(std::string_view text, const json* value, std::vector<schema::violation>& found) const {
  const re2::StringPiece piece(text.data(), text.size());
  if (min_length || max_length) {
    const auto count = code_point_count(text);
    if (min_length && count < *min_length)
      found.push_back({"", "min_length", "has " + characters(count) + ", at least " + std::to_string(*min_length) + " are needed"});
    if (max_length && count > *max_length)
      found.push_back({"", "max_length", "has " + characters(count) + ", at most " + std::to_string(*max_length) + " are allowed"});
  }
  if (matches && !RE2::PartialMatch(piece, *matches))
    found.push_back({"", "matches", "does not match the pattern " + shown(matches->pattern())});
  if (re2::StringPiece hit; not_matches && not_matches->Match(piece, 0, piece.size(), RE2::UNANCHORED, &hit, 1))
    found.push_back({"", "not_matches",
                     "matches the excluded pattern " + shown(not_matches->pattern()) + " at "
                         + schema::excerpt(json(std::string(hit.data(), hit.size())))});
  std::optional<std::string> said; // made once, and only for JSON whose text does not show the words
  for (const auto& [words, pattern] : mentions) {
    if (RE2::PartialMatch(piece, *pattern))
      continue;
    if (value != nullptr && !said)
      said = strings_of(*value);
    if (!said || !RE2::PartialMatch(*said, *pattern))
      found.push_back({"", "must_mention", "does not mention " + schema::excerpt(json(words))});
  }
}

contract_verdict contract::check(std::string_view raw) const {
  std::string mended;
  auto text = raw;
  if (!is_valid_utf8(raw)) {
    mended = mended_utf8(raw);
    text = mended;
  }
  contract_verdict out;
  if (!impl_->schema) {
    impl_->text_rules(text, nullptr, out.violations);
    if (out.accepted())
      out.output = std::string(text);
  } else {
    auto found = json_in_text(text);
    if (!found) {
      // A text that the schema would take if it were a string of JSON: what it lacks is not an object.
      out.violations.push_back({"", "json",
                                impl_->schema->is_valid(json(std::string(text)))
                                    ? "is plain text, and the contract wants JSON: a string stands in double quotes there"
                                    : found.error().message});
      return out;
    }
    out.violations = impl_->schema->validate(found->value, max_violations);
    impl_->text_rules(found->text, &found->value, out.violations);
    if (out.accepted())
      out.output = std::move(found->value);
  }
  if (out.violations.size() > max_violations)
    out.violations.resize(max_violations);
  return out;
}

std::string feedback_text(const std::vector<schema::violation>& violations, bool expects_json) {
  std::string out = "Your answer does not fulfil its contract:\n";
  for (const auto& [pointer, rule, message] : violations) {
    out.append("- ").append(pointer.empty() ? "the answer as a whole" : pointer).append(": ").append(message);
    out.append(" (rule: ").append(rule).append(")\n");
  }
  out.append("Answer again, with the whole answer and these points corrected.");
  if (expects_json)
    out.append(" Write the JSON value alone, without a code fence and without text around it.");
  return out;
}

} // namespace troupe
