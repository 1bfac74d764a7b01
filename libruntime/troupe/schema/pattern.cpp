#include "troupe/schema/pattern.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "troupe/schema/schema.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::schema {
namespace {

constexpr std::int64_t max_program_bytes = 1 << 20;
constexpr std::size_t max_re2_bytes = 8 * max_pattern_bytes; // translating makes a pattern longer

// ECMA-262's WhiteSpace and LineTerminator.
constexpr std::string_view spaces = R"(\t\n\x0b\f\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff})";
constexpr std::string_view not_spaces =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{fefe}\x{ff00}-\x{10ffff})";

// Long names of general categories; RE2 knows the short ones, and scripts.
constexpr std::array<std::pair<std::string_view, std::string_view>, 38> categories = {{
    {"Letter", "L"},
    {"Cased_Letter", "LC"},
    {"Uppercase_Letter", "Lu"},
    {"Lowercase_Letter", "Ll"},
    {"Titlecase_Letter", "Lt"},
    {"Modifier_Letter", "Lm"},
    {"Other_Letter", "Lo"},
    {"Mark", "M"},
    {"Combining_Mark", "M"},
    {"Nonspacing_Mark", "Mn"},
    {"Spacing_Mark", "Mc"},
    {"Enclosing_Mark", "Me"},
    {"Number", "N"},
    {"Decimal_Number", "Nd"},
    {"digit", "Nd"},
    {"Letter_Number", "Nl"},
    {"Other_Number", "No"},
    {"Punctuation", "P"},
    {"punct", "P"},
    {"Connector_Punctuation", "Pc"},
    {"Dash_Punctuation", "Pd"},
    {"Open_Punctuation", "Ps"},
    {"Close_Punctuation", "Pe"},
    {"Initial_Punctuation", "Pi"},
    {"Final_Punctuation", "Pf"},
    {"Other_Punctuation", "Po"},
    {"Symbol", "S"},
    {"Math_Symbol", "Sm"},
    {"Currency_Symbol", "Sc"},
    {"Modifier_Symbol", "Sk"},
    {"Other_Symbol", "So"},
    {"Separator", "Z"},
    {"Space_Separator", "Zs"},
    {"Line_Separator", "Zl"},
    {"Paragraph_Separator", "Zp"},
    {"Other", "C"},
    {"Control", "Cc"},
    {"Format", "Cf"},
}};

std::optional<std::uint32_t> hex_number(std::string_view text) {
  if (text.empty() || text.size() > 6)
    return std::nullopt;
  std::uint32_t value = 0;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0)
      return std::nullopt;
    value = value * 16 + static_cast<std::uint32_t>(digit);
  }
  return value;
}

/// Walks the pattern once, copying what both dialects share.
class translator {
public:
  explicit translator(std::string_view pattern) : in_(pattern) {}

  expected<std::string> run() {
    while (at_ < in_.size() && problem_.empty())
      step();
    if (!problem_.empty())
      return fail(error_code::invalid_argument, "pattern " + std::string(in_) + " at offset " + std::to_string(at_) + ": " + problem_);
    return std::move(out_);
  }

private:
  bool starts(std::string_view text) const { return in_.substr(at_, text.size()) == text; }

  void copy(std::size_t bytes) {
    out_.append(in_.substr(at_, bytes));
    at_ += bytes;
  }

  void write_code_point(std::uint32_t value) {
    constexpr char hex[] = "0123456789abcdef";
    std::string digits;
    do {
      digits.insert(digits.begin(), hex[value & 15]);
      value >>= 4;
    } while (value != 0);
    out_.append("\\x{").append(digits).append("}");
  }

  void step() {
    if (in_[at_] == '\\') {
      escape();
    } else if (in_class_) {
      if (in_[at_] == ']')
        in_class_ = false;
      if (in_[at_] == '[') { // RE2 would read [: as the beginning of a POSIX class
        out_.push_back('\\');
      }
      copy(1);
    } else if (starts("[^]")) {
      out_.append("(?s:.)");
      at_ += 3;
    } else if (starts("[]")) {
      out_.append("[^\\x{0}-\\x{10ffff}]");
      at_ += 2;
    } else if (in_[at_] == '[') {
      in_class_ = true;
      copy(starts("[^") ? 2 : 1);
    } else if (in_[at_] == '.') {
      out_.append("[^\\n\\r\\x{2028}\\x{2029}]");
      ++at_;
    } else if (in_[at_] == '(') {
      group();
    } else {
      copy(1);
    }
  }

  void group() {
    if (starts("(?=") || starts("(?!") || starts("(?<=") || starts("(?<!")) {
      problem_ = "look-around is not supported, since patterns run in linear time (RE2)";
    } else if (starts("(?<")) {
      out_.append("(?P<");
      at_ += 3;
    } else if (starts("(?") && !starts("(?:")) {
      problem_ = "this kind of group is not of ECMA-262";
    } else {
      copy(starts("(?:") ? 3 : 1);
    }
  }

  void space_class(bool positive) {
    if (in_class_)
      out_.append(positive ? spaces : not_spaces);
    else
      out_.append(positive ? "[" : "[^").append(spaces).append("]");
    at_ += 2;
  }

  void escape() {
    const char c = at_ + 1 < in_.size() ? in_[at_ + 1] : '\0';
    switch (c) {
    case 's':
    case 'S':
      space_class(c == 's');
      return;
    case 'd':
    case 'D':
    case 'w':
    case 'W':
    case 't':
    case 'n':
    case 'v':
    case 'f':
    case 'r':
      copy(2);
      return;
    case 'b':
    case 'B':
      if (!in_class_) {
        copy(2);
      } else if (c == 'b') {
        out_.append("\\x08");
        at_ += 2;
      } else {
        problem_ = "\\B does not stand in a class";
      }
      return;
    case 'c': {
      const char letter = at_ + 2 < in_.size() ? in_[at_ + 2] : '\0';
      if (!((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z'))) {
        problem_ = "\\c needs a letter";
        return;
      }
      write_code_point(static_cast<std::uint32_t>(letter) % 32);
      at_ += 3;
      return;
    }
    case 'x':
    case 'u':
      number(c == 'x' ? 2 : 4, c == 'u');
      return;
    case 'p':
    case 'P':
      property();
      return;
    case 'k':
      problem_ = "back-references are not supported, since patterns run in linear time (RE2)";
      return;
    case '0':
      if (at_ + 2 < in_.size() && in_[at_ + 2] >= '0' && in_[at_ + 2] <= '9') {
        problem_ = "octal escapes are not of ECMA-262; write \\x00";
        return;
      }
      write_code_point(0);
      at_ += 2;
      return;
    default:
      other(c);
    }
  }

  void other(char c) {
    if (c == '\0' && at_ + 1 >= in_.size())
      problem_ = "the pattern ends in a backslash";
    else if (c >= '1' && c <= '9')
      problem_ = "back-references are not supported, since patterns run in linear time (RE2)";
    else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80)
      problem_ = "this escape is not of ECMA-262";
    else
      copy(2);
  }

  /// \xHH, \uHHHH, \u{H…}, and a pair of surrogates.
  void number(std::size_t digits, bool unicode) {
    if (unicode && in_.substr(at_ + 2, 1) == "{") {
      const auto end = in_.find('}', at_);
      const auto value = end == std::string_view::npos ? std::nullopt : hex_number(in_.substr(at_ + 3, end - at_ - 3));
      if (!value || *value > 0x10FFFF) {
        problem_ = "\\u{…} needs a code point in hexadecimal digits";
        return;
      }
      write_code_point(*value);
      at_ = end + 1;
      return;
    }
    const auto text = in_.substr(at_ + 2, digits);
    auto value = text.size() == digits ? hex_number(text) : std::nullopt;
    if (!value) {
      problem_ = digits == 2 ? "\\x needs two hexadecimal digits" : "\\u needs four hexadecimal digits";
      return;
    }
    at_ += 2 + digits;
    if (*value >= 0xD800 && *value <= 0xDBFF && starts("\\u")) {
      if (const auto low = hex_number(in_.substr(at_ + 2, 4)); low && *low >= 0xDC00 && *low <= 0xDFFF) {
        value = 0x10000 + ((*value - 0xD800) << 10) + (*low - 0xDC00);
        at_ += 6;
      }
    }
    if (*value >= 0xD800 && *value <= 0xDFFF)
      problem_ = "a lone surrogate matches nothing";
    else
      write_code_point(*value);
  }

  void property() {
    const auto end = in_.find('}', at_);
    if (in_.substr(at_ + 2, 1) != "{" || end == std::string_view::npos) {
      problem_ = "\\p needs a property in braces, as \\p{L}";
      return;
    }
    auto name = in_.substr(at_ + 3, end - at_ - 3);
    if (const auto equals = name.find('='); equals != std::string_view::npos)
      name.remove_prefix(equals + 1); // Script=Greek, General_Category=L: RE2 has one space of names
    for (const auto& [long_name, short_name] : categories)
      if (name == long_name)
        name = short_name;
    if (name == "LC" && in_[at_ + 1] == 'P')
      problem_ = "\\P{LC} is not supported; name the categories";
    else if (name == "LC") // unknown to RE2
      out_.append(in_class_ ? "\\p{Lu}\\p{Ll}\\p{Lt}" : "[\\p{Lu}\\p{Ll}\\p{Lt}]");
    else
      out_.append(in_.substr(at_, 2)).append("{").append(name).append("}");
    at_ = end + 1;
  }

  std::string_view in_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
  std::string problem_;
};

} // namespace

expected<std::string> ecma_to_re2(std::string_view pattern) {
  return translator(pattern).run();
}

expected<std::shared_ptr<const RE2>> compile_re2(std::string_view pattern) {
  if (pattern.size() > max_re2_bytes)
    return fail(error_code::invalid_argument,
                "a pattern of " + std::to_string(pattern.size()) + " bytes is longer than " + std::to_string(max_re2_bytes));
  if (!is_valid_utf8(pattern))
    return fail(error_code::invalid_argument, "a pattern must be UTF-8");
  RE2::Options options(RE2::Quiet);
  options.set_max_mem(max_program_bytes);
  auto compiled = std::make_shared<const RE2>(re2::StringPiece(pattern.data(), pattern.size()), options);
  if (!compiled->ok())
    return fail(error_code::invalid_argument,
                "pattern " + std::string(utf8_prefix(pattern, 200)) + " cannot run in linear time (RE2): " + compiled->error());
  return std::shared_ptr<const RE2>(std::move(compiled));
}

std::size_t cost_of(const std::shared_ptr<const RE2>& compiled) {
  constexpr std::size_t instruction_bytes = 16;
  return compiled ? 100 + static_cast<std::size_t>(std::max(compiled->ProgramSize(), 0)) : max_program_bytes / instruction_bytes;
}

expected<std::shared_ptr<const RE2>> compile_ecma(std::string_view pattern) {
  if (pattern.size() > max_pattern_bytes)
    return fail(error_code::invalid_argument,
                "a pattern of " + std::to_string(pattern.size()) + " bytes is longer than " + std::to_string(max_pattern_bytes));
  auto translated = ecma_to_re2(pattern);
  if (!translated)
    return tl::unexpected<error>(translated.error());
  return compile_re2(*translated);
}

} // namespace troupe::schema
