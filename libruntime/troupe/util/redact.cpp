#include "troupe/util/redact.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>

namespace troupe {

namespace {

constexpr std::size_t secret_bytes_min = 4;
constexpr std::string_view mark = "[redacted]";
constexpr char hex[] = "0123456789ABCDEF";

/// As it stands inside a JSON string; the same text where nothing needs escaping.
std::string json_form(std::string_view secret) {
  std::string out;
  for (const char c : secret) {
    switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      out += c;
    }
  }
  return out;
}

std::string url_form(std::string_view secret) {
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

} // namespace

void redactor::add(std::string_view secret) {
  if (secret.size() < secret_bytes_min)
    return;
  const std::lock_guard lock(mutex_);
  auto next = std::make_shared<list>(*secrets_);
  for (auto form : {std::string(secret), json_form(secret), url_form(secret)})
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

redactor& secrets() {
  static redactor all;
  return all;
}

std::string redacted(std::string text) {
  return secrets().apply(std::move(text));
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
