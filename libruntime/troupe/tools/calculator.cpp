#include "troupe/tools/calculator.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <vector>

#include "troupe/util/suggest.hpp"

namespace troupe::tools {

namespace {

/// A whole number as long as it is exact, a real one else.
struct number {
  bool whole = false;
  std::int64_t integer = 0;
  long double real = 0;

  static number of(std::int64_t value) { return {true, value, static_cast<long double>(value)}; }
  static number of(long double value) { return {false, 0, value}; }
};

using function = long double (*)(long double);
struct named_function {
  const char* name;
  function apply;
};

/// sin(pi) is 0, though pi has 19 digits here.
long double at_zero(long double value) {
  return std::fabs(value) < 1e-18L ? 0 : value;
}

const named_function functions[] = {
    {"sqrt", [](long double x) { return std::sqrt(x); }},        {"cbrt", [](long double x) { return std::cbrt(x); }},
    {"abs", [](long double x) { return std::fabs(x); }},         {"floor", [](long double x) { return std::floor(x); }},
    {"ceil", [](long double x) { return std::ceil(x); }},        {"round", [](long double x) { return std::round(x); }},
    {"trunc", [](long double x) { return std::trunc(x); }},      {"exp", [](long double x) { return std::exp(x); }},
    {"ln", [](long double x) { return std::log(x); }},           {"log", [](long double x) { return std::log10(x); }},
    {"log10", [](long double x) { return std::log10(x); }},      {"log2", [](long double x) { return std::log2(x); }},
    {"sin", [](long double x) { return at_zero(std::sin(x)); }}, {"cos", [](long double x) { return at_zero(std::cos(x)); }},
    {"tan", [](long double x) { return at_zero(std::tan(x)); }}, {"asin", [](long double x) { return std::asin(x); }},
    {"acos", [](long double x) { return std::acos(x); }},        {"atan", [](long double x) { return std::atan(x); }},
};

std::vector<std::string> known_names() {
  std::vector<std::string> out{"pi", "e", "min", "max", "pow", "mod"};
  for (const auto& each : functions)
    out.emplace_back(each.name);
  return out;
}

/// The whole number that a real one is, where 64 bits hold it exactly (a long double has 64 of them).
number settle(long double value) {
  if (value == std::trunc(value) && std::fabs(value) < 9.2e18L)
    return number::of(static_cast<std::int64_t>(value));
  return number::of(value);
}

/// Recursive descent; depth and length are bounded. The first problem ends it.
class reader {
public:
  explicit reader(std::string_view text) : text_(text) {}

  expected<number> read() {
    auto value = sum();
    if (!problem_ && at_ < text_.size())
      complain(text_[at_] == ',' ? "a comma does not belong here; write numbers without thousands separators"
                                 : "expected an operator or the end, found " + found());
    if (problem_)
      return fail(error_code::invalid_argument, *problem_);
    return value;
  }

private:
  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::optional<std::string> problem_;

  number complain(const std::string& words) {
    if (!problem_)
      problem_ = "position " + std::to_string(at_ + 1) + ": " + words;
    return {};
  }

  std::string found() const {
    if (at_ >= text_.size())
      return "the end";
    const char c = text_[at_];
    return c >= 0x20 && c < 0x7f ? std::string("\"") + c + "\"" : std::string("a character that is not ASCII");
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }

  bool accept(std::string_view token) {
    skip_space();
    if (text_.substr(at_, token.size()) != token)
      return false;
    at_ += token.size();
    return true;
  }

  number checked(number value) {
    if (!std::isfinite(value.real))
      return complain(std::isnan(value.real) ? "the result is no real number" : "the result is too large");
    return value;
  }

  number sum() {
    auto left = product();
    while (!problem_) {
      std::int64_t exact = 0;
      if (accept("+")) {
        const auto right = product();
        left = left.whole && right.whole && !__builtin_add_overflow(left.integer, right.integer, &exact) ? number::of(exact)
                                                                                                         : add(left.real, right.real);
      } else if (accept("-")) {
        const auto right = product();
        left = left.whole && right.whole && !__builtin_sub_overflow(left.integer, right.integer, &exact) ? number::of(exact)
                                                                                                         : add(left.real, -right.real);
      } else {
        break;
      }
    }
    skip_space();
    return left;
  }

  /// What is left when digits beyond all that were meant cancel out (0.1 + 0.2 - 0.3) is zero.
  number add(long double left, long double right) {
    const auto result = left + right;
    const bool noise = std::fabs(result) <= 1e-17L * std::max(std::fabs(left), std::fabs(right));
    return noise ? number::of(std::int64_t{0}) : checked(number::of(result));
  }

  number product() {
    auto left = sign();
    while (!problem_) {
      skip_space();
      if (text_.substr(at_, 2) != "**" && accept("*"))
        left = multiply(left, sign());
      else if (accept("/"))
        left = divide(left, sign());
      else if (accept("%"))
        left = remainder(left, sign());
      else
        break;
    }
    return left;
  }

  number multiply(number left, number right) {
    std::int64_t exact = 0;
    if (left.whole && right.whole && !__builtin_mul_overflow(left.integer, right.integer, &exact))
      return number::of(exact);
    return checked(number::of(left.real * right.real));
  }

  number divide(number left, number right) {
    if (problem_)
      return {};
    if (right.real == 0)
      return complain("division by zero");
    if (left.whole && right.whole && right.integer != -1 && left.integer % right.integer == 0)
      return number::of(left.integer / right.integer);
    return checked(number::of(left.real / right.real));
  }

  number remainder(number left, number right) {
    if (problem_)
      return {};
    if (right.real == 0)
      return complain("the remainder of a division by zero");
    if (left.whole && right.whole)
      return number::of(right.integer == -1 ? 0 : left.integer % right.integer);
    return checked(number::of(std::fmod(left.real, right.real)));
  }

  number sign() {
    bool negative = false;
    for (;;) {
      if (accept("-"))
        negative = !negative;
      else if (!accept("+"))
        break;
    }
    auto value = power();
    if (!negative)
      return value;
    if (value.whole && value.integer != std::numeric_limits<std::int64_t>::min())
      return number::of(-value.integer);
    return number::of(-value.real);
  }

  number power() {
    if (++depth_ > expression_depth_max)
      return complain("more than " + std::to_string(expression_depth_max) + " levels of nesting");
    auto base = operand();
    if (!problem_ && (accept("**") || accept("^")))
      base = raise(base, sign());
    --depth_;
    return base;
  }

  number raise(number base, number exponent) {
    if (problem_)
      return {};
    if (base.whole && exponent.whole && exponent.integer >= 0) {
      std::int64_t result = 1, square = base.integer;
      bool exact = true;
      for (auto left = exponent.integer; exact && left > 0; left >>= 1) {
        if (left & 1)
          exact = !__builtin_mul_overflow(result, square, &result);
        if (left > 1)
          exact = exact && !__builtin_mul_overflow(square, square, &square);
      }
      if (exact)
        return number::of(result);
    }
    if (base.real == 0 && exponent.real < 0)
      return complain("division by zero");
    return checked(number::of(std::pow(base.real, exponent.real)));
  }

  number operand() {
    skip_space();
    if (accept("(")) {
      const auto value = sum();
      if (!problem_ && !accept(")"))
        return complain("expected \")\", found " + found());
      return value;
    }
    const char c = at_ < text_.size() ? text_[at_] : '\0';
    if ((c >= '0' && c <= '9') || c == '.')
      return literal();
    if (std::isalpha(static_cast<unsigned char>(c)))
      return name();
    return complain("expected a number, a name or \"(\", found " + found());
  }

  number literal() {
    const auto* begin = text_.data() + at_;
    const auto* end = text_.data() + text_.size();
    std::int64_t whole = 0;
    const auto integer = std::from_chars(begin, end, whole);
    const bool goes_on = integer.ptr < end && (*integer.ptr == '.' || *integer.ptr == 'e' || *integer.ptr == 'E');
    if (integer.ec == std::errc() && !goes_on) {
      at_ += static_cast<std::size_t>(integer.ptr - begin);
      return number::of(whole);
    }
    long double real = 0;
    const auto decimal = std::from_chars(begin, end, real);
    if (decimal.ec == std::errc::result_out_of_range)
      return complain("the number is too large or too small");
    if (decimal.ec != std::errc())
      return complain("expected a number, found " + found());
    at_ += static_cast<std::size_t>(decimal.ptr - begin);
    return checked(number::of(real));
  }

  number name() {
    const auto from = at_;
    while (at_ < text_.size() && std::isalnum(static_cast<unsigned char>(text_[at_])))
      ++at_;
    const auto word = std::string(text_.substr(from, at_ - from));
    if (word == "pi")
      return number::of(3.141592653589793238462643383279502884L);
    if (word == "e")
      return number::of(2.718281828459045235360287471352662498L);
    const named_function* known = nullptr;
    for (const auto& each : functions)
      known = word == each.name ? &each : known;
    const bool two = word == "pow" || word == "mod", many = word == "min" || word == "max";
    if (!known && !two && !many) {
      at_ = from;
      const auto known_words = known_names();
      const auto near = nearest_name(word, {known_words.begin(), known_words.end()});
      return complain("there is no \"" + word.substr(0, 40) + "\"" + (near.empty() ? "" : "; did you mean \"" + std::string(near) + "\"?"));
    }
    if (!accept("("))
      return complain("expected \"(\" after " + word + ", found " + found());
    auto value = sum();
    std::size_t count = 1;
    for (; !problem_ && accept(","); ++count) {
      const auto next = sum();
      if (problem_)
        break;
      if (word == "pow")
        value = raise(value, next);
      else if (word == "mod")
        value = remainder(value, next);
      else if (many && (word == "min" ? next.real < value.real : next.real > value.real))
        value = next;
      else if (!many)
        return complain(word + " takes one value");
    }
    if (!problem_ && !accept(")"))
      return complain("expected \")\", found " + found());
    if (!problem_ && two && count != 2)
      return complain(word + " takes two values");
    return known && !problem_ ? checked(settle(known->apply(value.real))) : value;
  }
};

/// The shortest text with at most 15 significant digits.
std::string show(const number& value) {
  if (value.whole)
    return std::to_string(value.integer);
  const auto real = static_cast<double>(value.real);
  char text[64];
  std::snprintf(text, sizeof text, "%.15g", real == 0 ? 0.0 : real); // no "-0"
  return text;
}

} // namespace

expected<std::string> calculate(std::string_view expression) {
  if (expression.size() > expression_bytes_max)
    return fail(error_code::invalid_argument,
                "the expression has more than " + std::to_string(expression_bytes_max) + " characters; calculate it in parts");
  auto value = reader(expression).read();
  if (!value)
    return tl::unexpected(value.error());
  if (!value->whole && !std::isfinite(static_cast<double>(value->real)))
    return fail(error_code::invalid_argument, "the result is too large");
  return show(*value);
}

} // namespace troupe::tools
