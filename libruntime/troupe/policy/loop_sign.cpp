#include "troupe/policy/loop_sign.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <unordered_map>

#include "troupe/util/fast_json.hpp"
#include "troupe/util/parse_json.hpp"
#include "troupe/util/trim.hpp"

namespace troupe::policy {

namespace {

constexpr std::string_view blanks = " \t\n\v\f\r";

using json = nlohmann::json;

/// A stable hash of what is put in, in its order: eight bytes a step, mixed as in MurmurHash3.
class hash {
public:
  explicit hash(char kind) { number(static_cast<unsigned char>(kind)); }
  void number(std::uint64_t value) {
    value *= 0x87C37B91114253D5ULL;
    value = std::rotl(value, 31) * 0x4CF5AD432745937FULL;
    state_ = std::rotl(state_ ^ value, 27) * 5 + 0x52DCE729;
  }
  void text(std::string_view bytes) {
    number(bytes.size());
    std::uint64_t word = 0;
    for (; bytes.size() >= sizeof word; bytes.remove_prefix(sizeof word)) {
      std::memcpy(&word, bytes.data(), sizeof word);
      number(little(word));
    }
    word = 0;
    if (!bytes.empty()) // an empty text may have no place at all
      std::memcpy(&word, bytes.data(), bytes.size());
    number(little(word));
  }
  std::uint64_t value() const {
    auto h = state_;
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCDULL;
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53ULL;
    return h ^ h >> 33;
  }

private:
  static std::uint64_t little(std::uint64_t word) {
    if constexpr (std::endian::native == std::endian::big)
      return __builtin_bswap64(word);
    return word;
  }
  std::uint64_t state_ = 0x9E3779B97F4A7C15ULL;
};

char32_t folded(char32_t c) {
  const auto in = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
  if (in('A', 'Z') || (in(0xC0, 0xDE) && c != 0xD7) || (in(0x391, 0x3AB) && c != 0x3A2) || in(0x410, 0x42F))
    return c + 32;
  // Pairs, the capital first and even, or first and odd.
  if ((in(0x100, 0x137) && c != 0x130 && c != 0x131) || in(0x14A, 0x177) || in(0x460, 0x481) || in(0x48A, 0x4BF) || in(0x4D0, 0x52F)
      || in(0x1E00, 0x1E95) || in(0x1EA0, 0x1EFF))
    return c | 1;
  if ((in(0x139, 0x148) || in(0x179, 0x17E)) && (c & 1) == 1)
    return c + 1;
  if (in(0x400, 0x40F))
    return c + 80;
  if (in(0x531, 0x556))
    return c + 48;
  switch (c) {
  case 0x178:
    return 0xFF;
  case 0x386:
    return 0x3AC;
  case 0x388:
  case 0x389:
  case 0x38A:
    return c + 37;
  case 0x38C:
    return 0x3CC;
  case 0x38E:
  case 0x38F:
    return c + 63;
  case 0x3C2:
    return 0x3C3; // final sigma
  default:
    return c;
  }
}

bool is_space(char32_t c) {
  return c == ' ' || (c >= 0x09 && c <= 0x0D) || c == 0x85 || c == 0xA0 || (c >= 0x2000 && c <= 0x200B) || c == 0x2028 || c == 0x2029
         || c == 0x202F || c == 0x205F || c == 0x3000 || c == 0xFEFF;
}

/// The next code point of valid UTF-8; of anything else its first byte.
char32_t next_code_point(std::string_view& text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t length = lead < 0xC2 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 1;
  if (length == 1 || text.size() < length) {
    text.remove_prefix(1);
    return lead;
  }
  char32_t c = lead & (0x7F >> length);
  for (std::size_t i = 1; i < length; ++i)
    c = c << 6 | (static_cast<unsigned char>(text[i]) & 0x3F);
  text.remove_prefix(length);
  return c;
}

/// Of each ASCII character its small letter; 0: white space.
constexpr std::array<char, 128> small_letters = [] {
  std::array<char, 128> made{};
  for (int c = 0; c < 128; ++c)
    made[static_cast<std::size_t>(c)] = static_cast<char>(c >= 'A' && c <= 'Z'              ? c + 32
                                                          : c == ' ' || (c >= 9 && c <= 13) ? 0
                                                          : c == 0                          ? 1
                                                                                            : c);
  return made;
}();

void normalise(std::string_view text, std::string& into) {
  // No folded letter is longer than the one before, and a blank takes the place of at least one.
  into.resize(text.size());
  char* const begin = into.data();
  char* out = begin;
  bool gap = false;
  while (!text.empty()) {
    const auto lead = static_cast<unsigned char>(text.front());
    if (lead < 0x80) {
      text.remove_prefix(1);
      if (const char c = small_letters[lead]; c != 0) {
        if (gap && out != begin)
          *out++ = ' ';
        gap = false;
        *out++ = c;
      } else {
        gap = true;
      }
      continue;
    }
    const auto before = text;
    const auto c = next_code_point(text);
    if (is_space(c)) {
      gap = true;
      continue;
    }
    if (gap && out != begin)
      *out++ = ' ';
    gap = false;
    const auto length = before.size() - text.size();
    if (const auto fold = folded(c); fold != c && length == 2) { // all letters that are folded
      *out++ = static_cast<char>(0xC0 | fold >> 6);
      *out++ = static_cast<char>(0x80 | (fold & 0x3F));
    } else if (fold != c && length == 3) {
      *out++ = static_cast<char>(0xE0 | fold >> 12);
      *out++ = static_cast<char>(0x80 | (fold >> 6 & 0x3F));
      *out++ = static_cast<char>(0x80 | (fold & 0x3F));
    } else {
      std::memcpy(out, before.data(), length);
      out += length;
    }
  }
  into.resize(static_cast<std::size_t>(out - begin));
}

/// A number by its value: 1.0 is 1, and integers that no double holds keep all their digits.
void put_number(hash& into, const json& value) {
  if (value.is_number_float()) {
    const auto real = value.get<double>();
    constexpr double whole_max = 9.2e18;
    if (std::abs(real) < whole_max && real == std::trunc(real)) {
      into.number('i');
      into.number(static_cast<std::uint64_t>(static_cast<std::int64_t>(real)));
    } else {
      into.number('f');
      into.number(std::bit_cast<std::uint64_t>(real));
    }
  } else {
    into.number('i');
    into.number(value.is_number_unsigned() ? value.get<std::uint64_t>() : static_cast<std::uint64_t>(value.get<std::int64_t>()));
  }
}

void put(hash& into, const json& value, std::string& scratch, const std::vector<std::string>* ignored) {
  switch (value.type()) {
  case json::value_t::object: // its members are in the order of their names
    into.number('{');
    for (auto member = value.begin(); member != value.end(); ++member) {
      if (ignored && std::find(ignored->begin(), ignored->end(), member.key()) != ignored->end())
        continue;
      into.text(member.key());
      put(into, *member, scratch, nullptr);
    }
    into.number('}');
    break;
  case json::value_t::array:
    into.number('[');
    for (const auto& element : value)
      put(into, element, scratch, nullptr);
    into.number(']');
    break;
  case json::value_t::string:
    into.number('s');
    normalise(value.get_ref<const std::string&>(), scratch);
    into.text(scratch);
    break;
  case json::value_t::boolean:
    into.number(value.get<bool>() ? 't' : 'n');
    break;
  case json::value_t::number_integer:
  case json::value_t::number_unsigned:
  case json::value_t::number_float:
    put_number(into, value);
    break;
  default:
    into.number('0');
  }
}

bool is_hollow_word(std::string_view words) {
  static constexpr std::string_view known[] = {"",
                                               "null",
                                               "none",
                                               "nil",
                                               "undefined",
                                               "nan",
                                               "n/a",
                                               "0",
                                               "-",
                                               "ok",
                                               "okay",
                                               "done",
                                               "success",
                                               "true",
                                               "false",
                                               "yes",
                                               "no",
                                               "empty",
                                               "not found",
                                               "nothing found",
                                               "no result",
                                               "no results",
                                               "no results found",
                                               "no match",
                                               "no matches",
                                               "no matches found",
                                               "no match found",
                                               "no data",
                                               "no output",
                                               "no entries",
                                               "no files",
                                               "no files found",
                                               "no rows",
                                               "no lines",
                                               "no items",
                                               "no records",
                                               "no records found",
                                               "0 results",
                                               "0 rows",
                                               "0 matches",
                                               "0 files",
                                               "0 items"};
  return std::find(std::begin(known), std::end(known), words) != std::end(known);
}

bool is_hollow_value(const json& value) {
  if (value.is_object() || value.is_array())
    return std::all_of(value.begin(), value.end(), [](const json& each) { return is_hollow_value(each); });
  if (value.is_number())
    return value == 0;
  return !value.is_string() || is_hollow_word(normalised_text(value.get_ref<const std::string&>()));
}

/// Characters that are words by themselves: scripts written without blanks.
bool stands_alone(char32_t c) {
  return (c >= 0x2E80 && c <= 0x9FFF) || (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x3FFFF);
}

bool in_word(char32_t c) {
  return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '_';
}

template <class Take>
void each_word(std::string_view text, Take take) {
  const char* begin = nullptr;
  const auto end_word = [&](const char* end) {
    if (begin)
      take(std::string_view(begin, static_cast<std::size_t>(end - begin)));
    begin = nullptr;
  };
  while (!text.empty()) {
    const auto* at = text.data();
    const auto c = next_code_point(text);
    if (!in_word(c) || stands_alone(c))
      end_word(at);
    if (!in_word(c))
      continue;
    if (!begin)
      begin = at;
    if (stands_alone(c))
      end_word(text.data());
  }
  end_word(text.data());
}

constexpr std::size_t sketch_max = 256;

} // namespace

std::string normalised_text(std::string_view text) {
  std::string out;
  normalise(text, out);
  return out;
}

std::uint64_t tool_sign(std::string_view tool) {
  hash made('T');
  made.text(tool);
  return made.value();
}

std::uint64_t call_sign(std::string_view tool, std::string_view arguments, const std::vector<std::string>& ignored) {
  hash made('C');
  made.text(tool);
  std::string scratch;
  const auto is_json = [&](const json& value) {
    put(made, value, scratch, &ignored);
    return made.value();
  };
  // No arguments at all are written as nothing or as {}.
  if (trimmed(arguments, blanks).empty())
    return is_json(json::object());
  if (const auto quick = parse_fast(arguments, max_json_depth))
    return is_json(*quick);
  if (const auto careful = parse_bounded(arguments))
    return is_json(*careful);
  made.number('?');
  normalise(arguments, scratch);
  made.text(scratch);
  return made.value();
}

std::uint64_t outcome_sign(std::string_view text) {
  hash made('O');
  made.text(trimmed(text, blanks));
  return made.value();
}

bool is_hollow(std::string_view outcome) {
  constexpr std::size_t bytes_max = 512; // what is longer says something
  outcome = trimmed(outcome, blanks);
  if (outcome.size() > bytes_max)
    return false;
  if (!outcome.empty() && (outcome.front() == '{' || outcome.front() == '['))
    if (const auto value = parse_bounded(outcome, 32))
      return is_hollow_value(*value);
  const auto bare = [](std::string_view text) {
    constexpr std::string_view around = "\"'`()[]<>.!:;, ";
    const auto first = text.find_first_not_of(around);
    return first == std::string_view::npos ? std::string_view() : text.substr(first, text.find_last_not_of(around) - first + 1);
  };
  if (is_hollow_word(bare(normalised_text(outcome))))
    return true;
  // "status: ok", "errors=0": as the same in JSON.
  for (auto rest = outcome; !rest.empty();) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const auto line = trimmed(rest.substr(0, end), blanks);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const auto key = std::min(line.find_first_of(":= \t"), line.size());
    const bool named = key > 0 && key < line.size() && (line[key] == ':' || line[key] == '=');
    if (!line.empty() && !(named && is_hollow_word(bare(normalised_text(line.substr(key + 1))))))
      return false;
  }
  return true;
}

text_sketch sketch_of(std::string_view text) {
  const auto plain = normalised_text(text);
  text_sketch made;
  hash whole('W');
  whole.text(plain);
  made.whole = whole.value();
  std::unordered_map<std::uint64_t, std::uint32_t> seen; // a word that comes again is another one
  each_word(plain, [&](std::string_view word) {
    hash one('w');
    one.text(word);
    hash counted('n');
    counted.number(one.value());
    counted.number(seen[one.value()]++);
    made.least.push_back(static_cast<std::uint32_t>(counted.value()));
  });
  made.words = made.least.size();
  std::sort(made.least.begin(), made.least.end());
  if (made.least.size() > sketch_max)
    made.least.resize(sketch_max);
  made.least.shrink_to_fit();
  return made;
}

double similarity(const text_sketch& a, const text_sketch& b) {
  if (a.whole == b.whole)
    return 1;
  if (a.words == 0 || b.words == 0)
    return 0;
  // Of the smallest numbers of both together, how many are in both: Jaccard's index, from which Dice's follows.
  const auto most = a.words > sketch_max || b.words > sketch_max ? sketch_max : a.words + b.words;
  std::size_t all = 0, common = 0;
  auto x = a.least.begin(), y = b.least.begin();
  for (; all < most && x != a.least.end() && y != b.least.end(); ++all) {
    if (*x == *y) {
      ++common;
      ++x;
      ++y;
    } else if (*x < *y) {
      ++x;
    } else {
      ++y;
    }
  }
  all += std::min(most - all, static_cast<std::size_t>((a.least.end() - x) + (b.least.end() - y)));
  const auto jaccard = static_cast<double>(common) / static_cast<double>(all);
  return 2 * jaccard / (1 + jaccard);
}

} // namespace troupe::policy
