#include "troupe/util/redact.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>

#include "troupe/util/utf8.hpp"

namespace troupe {

namespace {

constexpr std::size_t secret_bytes_min = 4;
constexpr std::string_view mark = "[redacted]";
constexpr std::size_t encoded_bytes_min = 6; // fewer digits of base64 stand in many a text by chance
constexpr std::size_t remains_bytes_min = secret_bytes_min;

/// How a writer of JSON escapes more than it must.
struct json_writer {
  bool slash = false;      ///< as PHP: \/
  bool ascii = false;      ///< as Python: \u00e4
  std::string_view more{}; ///< written as \u00xx, as Go and .NET do
  std::string_view hex = "0123456789abcdef";
};

constexpr json_writer json_writers[] = {
    {},
    {.slash = true},
    {.ascii = true},
    {.slash = true, .ascii = true},
    {.more = "<>&"},
    {.ascii = true, .more = "<>&'\"+`", .hex = "0123456789ABCDEF"},
};

void append_escaped(std::string& out, std::uint32_t unit, std::string_view hex) {
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4)
    out += hex[(unit >> shift) & 15];
}

/// As it stands inside a JSON string; the same text where nothing needs escaping.
std::string json_form(std::string_view secret, const json_writer& writer) {
  std::string out;
  while (!secret.empty()) {
    const char c = secret.front();
    const auto byte = static_cast<unsigned char>(c);
    std::size_t length = 1;
    if (writer.more.find(c) != std::string_view::npos)
      append_escaped(out, byte, writer.hex);
    else if (c == '"' || c == '\\' || (c == '/' && writer.slash))
      (out += '\\') += c;
    else if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (const auto wide = byte >= 0xF0   ? 4u
                               : byte >= 0xE0 ? 3u
                                              : 2u;
             writer.ascii && byte >= 0xC2 && secret.size() >= wide && is_valid_utf8(secret.substr(0, wide))) {
      length = wide;
      std::uint32_t point = byte & (0xFFu >> (wide + 1));
      for (std::size_t i = 1; i < wide; ++i)
        point = point << 6 | (static_cast<unsigned char>(secret[i]) & 0x3Fu);
      if (point >= 0x10000)
        append_escaped(out, 0xD800 + ((point - 0x10000) >> 10), writer.hex);
      append_escaped(out, point >= 0x10000 ? 0xDC00 + ((point - 0x10000) & 0x3FF) : point, writer.hex);
    } else
      out += c;
    secret.remove_prefix(length);
  }
  return out;
}

std::string url_form(std::string_view secret, std::string_view hex) {
  std::string out;
  for (const char c : secret) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || std::strchr("-_.~", c) != nullptr;
    if (plain && c != 0) {
      out += c;
    } else {
      out += '%';
      out += hex[byte >> 4];
      out += hex[byte & 15];
    }
  }
  return out;
}

/// The base64 digits that the secret alone decides, when `before` bytes (of a multiple of three) stand before it in what is encoded.
std::string base64_form(std::string_view secret, std::size_t before, std::string_view last_two) {
  std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  digits += last_two;
  std::string out;
  std::uint32_t bits = 0;
  std::size_t held = 0;
  std::size_t foreign = before * 8; // bits that are not the secret's
  for (std::size_t i = 0; i < before + secret.size(); ++i) {
    bits = bits << 8 | (i < before ? 0u : static_cast<unsigned char>(secret[i - before]));
    for (held += 8; held >= 6; held -= 6) {
      if (foreign == 0)
        out += digits[(bits >> (held - 6)) & 63];
      foreign -= std::min<std::size_t>(foreign, 6);
    }
  }
  return out;
}

std::vector<std::string> forms_of(std::string_view secret) {
  std::vector<std::string> out{std::string(secret)};
  for (const auto& writer : json_writers)
    out.push_back(json_form(secret, writer));
  for (const std::string_view hex : {"0123456789ABCDEF", "0123456789abcdef"})
    out.push_back(url_form(secret, hex));
  for (const std::string_view last_two : {"+/", "-_"})
    for (const std::size_t before : {0, 1, 2})
      if (auto form = base64_form(secret, before, last_two); form.size() >= encoded_bytes_min)
        out.push_back(std::move(form));
  return out;
}

} // namespace

void redactor::add(std::string_view secret) {
  if (secret.size() < secret_bytes_min)
    return;
  const std::lock_guard lock(mutex_);
  auto next = std::make_shared<list>(*secrets_);
  for (auto& form : forms_of(secret))
    if (std::find(next->begin(), next->end(), form) == next->end())
      next->push_back(std::move(form));
  std::stable_sort(next->begin(), next->end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  count_.store(next->size(), std::memory_order_release);
  secrets_ = std::move(next);
}

std::shared_ptr<const redactor::list> redactor::known() const {
  const std::lock_guard lock(mutex_);
  return secrets_;
}

std::string redactor::apply(std::string text) const {
  if (empty())
    return text;
  const auto all = known();
  for (const auto& secret : *all) {
    auto at = text.find(secret);
    if (at == std::string::npos)
      continue;
    std::string out;
    std::size_t from = 0;
    for (; at != std::string::npos; at = text.find(secret, from)) {
      out.append(text, from, at - from).append(mark);
      from = at + secret.size();
    }
    out.append(text, from);
    text = std::move(out);
  }
  return text;
}

std::string_view redactor::without_remains(std::string_view text, cut at) const {
  if (empty())
    return text;
  const auto all = known();
  const auto proper_part = [&](std::string_view secret) {
    for (auto n = std::min(secret.size() - 1, text.size()); n >= remains_bytes_min; --n)
      if (at == cut::end ? text.ends_with(secret.substr(0, n)) : text.starts_with(secret.substr(secret.size() - n)))
        return n;
    return std::size_t{0};
  };
  std::size_t remains = 0;
  for (const auto& secret : *all)
    remains = std::max(remains, proper_part(secret));
  auto edge = at == cut::end ? text.size() - remains : remains;
  for (bool moved = remains > 0; moved;) { // never through a whole one: it would not be found any more
    moved = false;
    for (const auto& secret : *all)
      for (auto found = text.find(secret, edge - std::min(edge, secret.size() - 1)); found < edge; found = text.find(secret, found + 1))
        if (found + secret.size() > edge) {
          edge = at == cut::end ? found : found + secret.size();
          moved = true;
        }
  }
  return at == cut::end ? text.substr(0, edge) : text.substr(edge);
}

redactor& secrets() {
  static redactor all;
  return all;
}

std::string redacted(std::string text) {
  return secrets().apply(std::move(text));
}

std::string redacted_at(std::string text, redactor::cut at) {
  const auto kept = secrets().without_remains(text, at);
  if (kept.size() < text.size())
    text = at == redactor::cut::end ? std::string(kept) + std::string(mark) : std::string(mark) + std::string(kept);
  return redacted(std::move(text));
}

std::string_view safe_prefix(std::string_view text, std::size_t max_bytes) {
  const auto kept = utf8_prefix(text, max_bytes);
  return kept.size() == text.size() ? kept : secrets().without_remains(kept, redactor::cut::end);
}

expected<std::string> take_secret(const std::string& variable) {
  static std::mutex mutex;
  static std::map<std::string, std::string> taken;
  const std::lock_guard lock(mutex);
  char* value = std::getenv(variable.c_str());
  if (value && *value) {
    auto& kept = taken[variable];
    kept = value;
    // In place: setenv would leave the old bytes where /proc/PID/environ shows them.
    explicit_bzero(value, kept.size());
    secrets().add(kept);
    return kept;
  }
  if (const auto found = taken.find(variable); found != taken.end())
    return found->second;
  return fail(error_code::not_found, "the environment variable \"" + variable + "\" is not set; set it to the secret that it stands for");
}

std::string flaw_of_key(std::string_view key) {
  constexpr std::string_view white = " \t\r\n\v\f";
  const auto first = key.find_first_not_of(white);
  if (first == std::string_view::npos)
    return "is nothing but white space; set it to the key alone";
  const auto end = key.find_last_not_of(white) + 1;
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(key.begin() + static_cast<std::ptrdiff_t>(first), key.begin() + static_cast<std::ptrdiff_t>(end), is_control))
    return "has a line break or another control character in it, so it is not one key; set it to the key alone";
  if (key.find_first_of("\r\n", end) != std::string_view::npos)
    return "ends with a line break, as what was read from a file often does; set it to the key alone, as in VARIABLE=\"$(cat FILE)\"";
  if (first > 0 || end < key.size())
    return "has white space before or after the key; set it to the key alone";
  return {};
}

} // namespace troupe
