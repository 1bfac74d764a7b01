// JSON through nlohmann's SAX interface. It states no positions, so a scan of the same text follows the events: what the parser
// accepted needs no second validation, only skipping.

#include "troupe/config/readers.hpp"

#include <cmath>

#include "troupe/config/text_cursor.hpp"
#include "troupe/util/json_text.hpp"

namespace troupe::config {

namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

class json_events final : public nlohmann::json_sax<json> {
public:
  json_events(std::string_view text, tree_builder& into, bool report_syntax)
      : text_(text), cursor_(text), into_(into), report_syntax_(report_syntax) {}

  bool null() override { return value(nullptr, bare_token()); }
  bool boolean(bool v) override { return value(v, bare_token()); }
  bool number_integer(number_integer_t v) override { return value(v, bare_token()); }
  bool number_unsigned(number_unsigned_t v) override {
    if (v > static_cast<number_unsigned_t>(INT64_MAX))
      return value(static_cast<double>(v), bare_token());
    return value(static_cast<number_integer_t>(v), bare_token());
  }
  bool number_float(number_float_t v, const string_t&) override { return value(v, bare_token()); }
  bool string(string_t& v) override { return value(std::move(v), string_token()); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override {
    into_.open(false, one_character());
    return true;
  }
  bool key(string_t& v) override {
    into_.key(std::move(v), string_token());
    return true;
  }
  bool end_object() override { return end(); }
  bool start_array(std::size_t) override {
    into_.open(true, one_character());
    return true;
  }
  bool end_array() override { return end(); }
  bool parse_error(std::size_t offset, const std::string&, const nlohmann::detail::exception& problem) override {
    if (report_syntax_)
      into_.report(cursor_.at(offset > 0 ? offset - 1 : 0), words_of(problem.what()));
    return false;
  }

private:
  /// nlohmann: "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error while … - unexpected …; expected …".
  static std::string words_of(std::string_view what) {
    const auto start = what.find(": ");
    auto words = std::string(start == std::string_view::npos ? what : what.substr(start + 2));
    if (const auto last_read = words.find("; last read: "); last_read != std::string::npos) {
      const auto end = words.find("; expected", last_read);
      words.erase(last_read, (end == std::string::npos ? words.size() : end) - last_read);
    }
    return "this is no JSON: " + words;
  }

  void skip_to_token() {
    while (offset_ < text_.size() && (is_space(text_[offset_]) || text_[offset_] == ',' || text_[offset_] == ':'))
      ++offset_;
  }
  position one_character() {
    skip_to_token();
    return cursor_.at(offset_++);
  }
  position bare_token() {
    skip_to_token();
    const auto at = cursor_.at(offset_);
    while (offset_ < text_.size() && !is_space(text_[offset_]) && text_[offset_] != ',' && text_[offset_] != ']' && text_[offset_] != '}')
      ++offset_;
    return at;
  }
  position string_token() {
    skip_to_token();
    const auto at = cursor_.at(offset_);
    offset_ = closing_quote(text_, offset_) + 1;
    return at;
  }

  bool value(json v, position at) {
    into_.scalar(std::move(v), at);
    return true;
  }
  bool end() {
    one_character();
    into_.close();
    return true;
  }

  std::string_view text_;
  text_cursor cursor_;
  tree_builder& into_;
  bool report_syntax_;
  std::size_t offset_ = 0;
};

} // namespace

bool read_json(std::string_view text, tree_builder& into, bool report_syntax) {
  json_events events(text, into, report_syntax);
  if (json::sax_parse(text.begin(), text.end(), &events))
    return true;
  if (report_syntax)
    throw reading_stopped{};
  return false;
}

} // namespace troupe::config
