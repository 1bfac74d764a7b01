#include "troupe/llm/wire.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "troupe/llm/hostile_document.hpp"
#include "troupe/llm/json_writer.hpp"
#include "troupe/model/described.hpp"
#include "troupe/util/fast_json.hpp"
#include "troupe/util/json_text.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::llm {

namespace {

constexpr std::size_t depth_max = 512;
constexpr std::size_t values_max = 200'000;
constexpr std::size_t message_bytes_max = 1'000;

/// Whether parsing the text costs no more than it may: it is looked at before, since a small text may name millions of values.
bool within_bounds(std::string_view text) {
  std::size_t depth = 0;
  std::size_t values = 1; // at most: each follows a comma or an opening bracket, or is the first
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      i = closing_quote(text, i);
    } else if (c == '[' || c == '{') {
      if (++depth > depth_max || ++values > values_max)
        return false;
    } else if (c == ',') {
      if (++values > values_max)
        return false;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return true;
}

/// The code unit of a "\uXXXX" that starts at `at`; -1: there is none.
int code_unit(std::string_view text, std::size_t at) {
  if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u')
    return -1;
  int unit = 0;
  for (std::size_t i = at + 2; i < at + 6; ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0)
      return -1;
    unit = unit * 16 + digit;
  }
  return unit;
}

/// Escapes of lone surrogates become that of U+FFFD. Answers whether there were any.
bool mend_surrogates(std::string& text) {
  bool any = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\')
      continue;
    const int unit = code_unit(text, i);
    if (unit >= 0xD800 && unit <= 0xDBFF) {
      const int next = code_unit(text, i + 6);
      if (next >= 0xDC00 && next <= 0xDFFF) {
        i += 11;
        continue;
      }
    }
    if (unit >= 0xD800 && unit <= 0xDFFF) {
      text.replace(i, 6, "\\ufffd");
      any = true;
    }
    ++i; // whatever is escaped is no start of another escape
  }
  return any;
}

/// What a writer makes of a number that is none, or a number that no double holds.
bool is_no_number(const std::string& word) {
  if (word == "NaN" || word == "Infinity" || word == "-Infinity")
    return true;
  const auto digit = word.front() == '-' ? 1u : 0u;
  if (digit == word.size() || word[digit] < '0' || word[digit] > '9')
    return false;
  char* end = nullptr;
  return std::isinf(std::strtod(word.c_str(), &end)) && *end == '\0';
}

/// Such words, where they stand outside of strings, become strings. Answers whether there were any.
bool mend_numbers(std::string& text) {
  const auto in_word = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '-' || c == '.';
  };
  std::string out;
  std::size_t kept = 0; // up to there `text` is in `out`
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == '"') {
      i = closing_quote(text, i) + 1;
    } else if (in_word(text[i])) {
      auto end = i + 1;
      while (end < text.size() && in_word(text[end]))
        ++end;
      if (const auto word = text.substr(i, end - i); is_no_number(word)) {
        out.append(text, kept, i - kept).append("\"").append(word).append("\"");
        kept = end;
      }
      i = end;
    } else {
      ++i;
    }
  }
  if (kept == 0)
    return false;
  out.append(text, kept);
  text = std::move(out);
  return true;
}

std::string bounded(std::string text) {
  mend_utf8(text);
  if (text.size() > message_bytes_max)
    text = std::string(safe_prefix(text, message_bytes_max - 3)) + "…";
  return text;
}

std::string code_of(const boost::json::value& object) {
  for (const auto* key : {"code", "type"})
    if (const auto name = text_at(object, key); !name.empty())
      return std::string(name);
  const auto& code = value_at(object, "code");
  return code.is_int64() || code.is_uint64() ? text_of(code) : std::string{};
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

/// An "error" that tells of none, as some servers send beside each good answer.
bool tells_nothing(const boost::json::value& error) {
  const auto* members = error.if_object();
  const auto* words = error.if_string();
  return members ? members->empty() : words && is_blank({words->data(), words->size()});
}

} // namespace

namespace {

/// What the careful parser reads, as a value of the fast one, without a document of its own kind in between.
class value_builder final : public json::json_sax_t {
public:
  explicit value_builder(boost::json::storage_ptr memory) { stack_.reset(std::move(memory)); }

  boost::json::value take() { return stack_.release(); }

  bool null() override {
    return push([&] { stack_.push_null(); });
  }
  bool boolean(bool value) override {
    return push([&] { stack_.push_bool(value); });
  }
  bool number_integer(std::int64_t value) override {
    return push([&] { stack_.push_int64(value); });
  }
  bool number_unsigned(std::uint64_t value) override {
    return push([&] { stack_.push_uint64(value); });
  }
  bool number_float(double value, const std::string&) override {
    return push([&] { stack_.push_double(value); });
  }
  bool string(std::string& value) override {
    return push([&] { stack_.push_string(value); });
  }
  bool key(std::string& name) override {
    stack_.push_key(name);
    return true;
  }
  bool start_object(std::size_t) override { return open(); }
  bool start_array(std::size_t) override { return open(); }
  bool end_object() override {
    return close([&](std::size_t members) { stack_.push_object(members); });
  }
  bool end_array() override {
    return close([&](std::size_t elements) { stack_.push_array(elements); });
  }
  bool binary(json::binary_t&) override { return false; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

private:
  template <class Push>
  bool push(Push&& value) {
    ++counts_.back();
    value();
    return true;
  }
  bool open() {
    counts_.push_back(0);
    return true;
  }
  template <class Push>
  bool close(Push&& container) {
    const auto held = counts_.back();
    counts_.pop_back();
    return push([&] { container(held); });
  }

  boost::json::value_stack stack_;
  std::vector<std::size_t> counts_{0}; // values so far in each container that is open
};

/// By the careful parser; false: it is no JSON.
bool parse_once(std::string_view text, boost::json::value& into) {
  value_builder built(into.storage());
  if (!json::sax_parse(text.begin(), text.end(), &built))
    return false;
  into = built.take();
  return true;
}

/// … after what is wrong with it was mended where that is all.
bool parse_with_care(std::string_view text, boost::json::value& into) {
  if (!within_bounds(text))
    return false;
  if (parse_once(text, into))
    return true;
  std::string mended(text);
  const bool bytes = mend_utf8(mended);
  const bool escapes = mend_surrogates(mended);
  const bool numbers = mend_numbers(mended);
  return (bytes || escapes || numbers) && parse_once(mended, into);
}

} // namespace

hostile_document::hostile_document(std::string_view text) : memory_(first_.data(), first_.size()), root_(&memory_) {
  if (text.size() > values_max && !within_bounds(text)) // a shorter text cannot have as many values; its depth is the parser's to count
    return;
  boost::json::parse_options options;
  options.max_depth = depth_max;
  boost::json::error_code failed;
  root_ = boost::json::parse(text, failed, &memory_, options);
  good_ = !failed && !has_real_number(root_); // Boost.JSON may miss such a number's last bit
  if (good_)
    return;
  root_ = nullptr;
  memory_.release();
  good_ = parse_with_care(text, root_);
}

std::optional<std::int64_t> token_count(const boost::json::value& object, std::string_view key) {
  const auto& value = value_at(object, key);
  switch (value.kind()) {
  case boost::json::kind::null:
    return std::nullopt;
  case boost::json::kind::int64:
    return value.get_int64();
  case boost::json::kind::uint64:
    return static_cast<std::int64_t>(std::min<std::uint64_t>(value.get_uint64(), std::numeric_limits<std::int64_t>::max()));
  case boost::json::kind::double_:
    if (const double number = value.get_double(); std::isfinite(number) && std::abs(number) < 9e15)
      return std::llround(number);
    return -1;
  default:
    return -1;
  }
}

std::string text_of(const boost::json::value& value) {
  return to_nlohmann(value).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<llm_failure> error_object_of(const boost::json::value& body, int http_status) {
  llm_failure failure;
  failure.kind = llm_failure_kind::status;
  failure.http_status = http_status;
  const auto& error = value_at(body, "error");
  const bool none = http_status >= 200 && http_status < 300 && tells_nothing(error);
  if (error.is_object() && !none) {
    failure.code = code_of(error);
    failure.message = text_at(error, "message");
    if (failure.message.empty())
      failure.message = text_of(error);
  } else if (error.is_string() && !none) {
    failure.code = code_of(body);
    failure.message = text_at(body, "error");
  } else if (http_status >= 400 || text_at(body, "type") == "error" || text_at(body, "object") == "error") {
    failure.code = code_of(body);
    failure.message = text_at(body, "message");
    if (const auto& detail = value_at(body, "detail"); failure.message.empty() && !detail.is_null())
      failure.message = detail.is_string() ? std::string(text_at(body, "detail")) : text_of(detail);
    if (failure.message.empty() && failure.code.empty())
      return std::nullopt;
  } else {
    return std::nullopt;
  }
  failure.code.resize(safe_prefix(failure.code, 128).size());
  failure.message = bounded(std::move(failure.message));
  return failure;
}

llm_failure failure_of(llm_failure_kind kind, int http_status, std::string message) {
  llm_failure failure;
  failure.kind = kind;
  failure.http_status = http_status;
  failure.message = std::move(message);
  return failure;
}

llm_failure status_failure(int http_status, std::string_view body) {
  const hostile_document document(body);
  if (document.root())
    if (auto failure = error_object_of(*document.root(), http_status))
      return *std::move(failure);
  return failure_of(llm_failure_kind::status, http_status,
                    is_blank(body) ? "HTTP status " + std::to_string(http_status) + " without words"
                                   : bounded(std::string(body.substr(0, 2'000))));
}

llm_outcome conclude(answer&& from) {
  if (from.failure) {
    auto failure = *std::move(from.failure);
    failure.begun = from.begun;
    if (from.terminal) // else more of it was to come
      failure.usage = from.usage;
    return failure;
  }
  if (!from.finish) {
    auto failure = failure_of(llm_failure_kind::truncated, 200, "the response ended before the model said that it had finished");
    if (from.terminal)
      failure.usage = from.usage;
    return failure;
  }
  if (from.calls.empty() && is_blank(from.text)) {
    const std::string reason = name_of(*from.finish);
    auto failure =
        failure_of(llm_failure_kind::empty, 200, "the answer has neither text nor a tool call (finish reason \"" + reason + "\")");
    failure.code = reason;
    failure.usage = from.usage;
    return failure;
  }
  llm_response response;
  response.message.from = role::assistant;
  response.message.text = std::move(from.text);
  response.message.tool_calls = std::move(from.calls);
  mend_utf8(response.message.text);
  for (auto& call : response.message.tool_calls) {
    mend_utf8(call.id);
    mend_utf8(call.name);
    mend_utf8(call.arguments);
  }
  response.finish = *from.finish;
  response.usage = from.usage;
  return response;
}

std::string sendable_arguments(const std::string& arguments) {
  if (is_blank(arguments))
    return "{}";
  const auto first = arguments.find_first_not_of(" \t\r\n");
  if (arguments[first] == '{' && within_bounds(arguments) && json::accept(arguments))
    return arguments;
  std::string wrapped;
  json_writer<std::string>(wrapped).raw(R"({"invalid_arguments":)").string(arguments).raw("}");
  return wrapped;
}

std::string sendable_name(std::string_view name) {
  std::string out(name.substr(0, 64));
  for (char& c : out)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-'))
      c = '_';
  return out.empty() ? "unnamed" : out;
}

} // namespace troupe::llm
