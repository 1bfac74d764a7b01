#include "troupe/llm/vendor_headers.hpp"

#include <cctype>
#include <charconv>
#include <cmath>
#include <string>

#include <curl/curl.h>

namespace troupe::llm {

namespace {

using std::chrono::milliseconds;
constexpr double year_ms = 365.0 * 24 * 3600 * 1000;

/// A whole non-negative decimal number of at most a year of milliseconds, after multiplication.
std::optional<milliseconds> scaled(std::string_view text, double to_ms) {
  double value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (text.empty() || end.ec != std::errc{} || end.ptr != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  value = std::ceil(value * to_ms - 1e-6);
  if (text.front() == '-' || value > year_ms)
    return std::nullopt;
  return milliseconds(static_cast<std::int64_t>(value));
}

/// Microseconds since 1970 of an HTTP date in any of its three forms.
std::optional<std::int64_t> http_date_of(const std::string& text) {
  if (text.empty() || !std::isalpha(static_cast<unsigned char>(text.front())))
    return std::nullopt; // curl_getdate also reads bare numbers as dates
  const auto seconds = curl_getdate(text.c_str(), nullptr);
  if (seconds < 0 || seconds > 253'402'300'799) // year 9999
    return std::nullopt;
  return static_cast<std::int64_t>(seconds) * 1'000'000;
}

std::int64_t reference_time(const http_headers& headers, std::int64_t utc_now_us) {
  if (const auto* date = headers.find("date"))
    if (const auto at = http_date_of(*date))
      return *at;
  return utc_now_us;
}

std::optional<std::int64_t> count_of(const std::string* text) {
  if (!text)
    return std::nullopt;
  std::int64_t value = 0;
  const auto end = std::from_chars(text->data(), text->data() + text->size(), value);
  if (end.ec != std::errc{} || end.ptr != text->data() + text->size() || value < 0)
    return std::nullopt;
  return value;
}

bool digits(std::string_view text, std::size_t at, std::size_t count, int& value) {
  value = 0;
  if (at + count > text.size())
    return false;
  for (std::size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9')
      return false;
    value = value * 10 + (text[i] - '0');
  }
  return true;
}

/// One limit, as a vendor's headers state it.
struct stated {
  std::optional<std::int64_t> remaining;
  std::optional<milliseconds> reset;
  std::optional<std::int64_t> limit;
};

/// The one with less left.
const stated& tighter(const stated& one, const stated& other) {
  return !other.remaining || (one.remaining && *one.remaining <= *other.remaining) ? one : other;
}

} // namespace

std::optional<milliseconds> retry_after_of(const http_headers& headers, std::int64_t utc_now_us) {
  const auto longest = [&](std::string_view name, auto&& read) {
    std::optional<milliseconds> found;
    for (const auto& [field, value] : headers.fields())
      if (field == name)
        if (const std::optional<milliseconds> wait = read(value); wait && (!found || *wait > *found))
          found = wait;
    return found;
  };
  if (const auto wait = longest("retry-after-ms", [](const std::string& text) { return scaled(text, 1); }))
    return wait;
  return longest("retry-after", [&](const std::string& text) -> std::optional<milliseconds> {
    if (const auto wait = scaled(text, 1'000))
      return wait;
    const auto at = http_date_of(text);
    if (!at)
      return std::nullopt;
    const auto wait_us = *at - reference_time(headers, utc_now_us);
    if (wait_us < 0 || static_cast<double>(wait_us) / 1'000 > year_ms)
      return std::nullopt;
    return milliseconds((wait_us + 999) / 1'000);
  });
}

std::optional<milliseconds> duration_of(std::string_view text) {
  if (const auto plain = scaled(text, 1'000))
    return plain;
  milliseconds sum{0};
  if (text.empty())
    return std::nullopt;
  while (!text.empty()) {
    std::size_t number = 0;
    while (number < text.size() && (std::isdigit(static_cast<unsigned char>(text[number])) || text[number] == '.'))
      ++number;
    std::size_t end = number;
    while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end])))
      ++end;
    const auto unit = text.substr(number, end - number);
    const double to_ms = unit == "ms"   ? 1
                         : unit == "s"  ? 1e3
                         : unit == "m"  ? 60e3
                         : unit == "h"  ? 3600e3
                         : unit == "d"  ? 86400e3
                         : unit == "us" ? 1e-3
                         : unit == "ns" ? 1e-6
                                        : 0;
    const auto part = to_ms > 0 ? scaled(text.substr(0, number), to_ms) : std::nullopt;
    if (!part || static_cast<double>((sum += *part).count()) > year_ms)
      return std::nullopt;
    text.remove_prefix(end);
  }
  return sum;
}

std::optional<std::int64_t> rfc3339_of(std::string_view text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  if (text.size() < 20 || !digits(text, 0, 4, year) || text[4] != '-' || !digits(text, 5, 2, month) || text[7] != '-'
      || !digits(text, 8, 2, day) || (text[10] != 'T' && text[10] != 't' && text[10] != ' ') || !digits(text, 11, 2, hour)
      || text[13] != ':' || !digits(text, 14, 2, minute) || text[16] != ':' || !digits(text, 17, 2, second))
    return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour > 23 || minute > 59 || second > 60)
    return std::nullopt;
  std::size_t at = 19;
  std::int64_t fraction_us = 0;
  if (text[at] == '.') {
    std::int64_t unit = 100'000;
    const auto first = ++at;
    for (; at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])); ++at, unit /= 10)
      fraction_us += (text[at] - '0') * unit;
    if (at == first)
      return std::nullopt;
  }
  std::int64_t offset_minutes = 0;
  const auto zone = text.substr(at);
  if (zone.size() == 6 && (zone[0] == '+' || zone[0] == '-') && zone[3] == ':') {
    int hours = 0, minutes = 0;
    if (!digits(zone, 1, 2, hours) || !digits(zone, 4, 2, minutes) || hours > 23 || minutes > 59)
      return std::nullopt;
    offset_minutes = std::int64_t{hours} * 60 + minutes;
    if (zone[0] == '-')
      offset_minutes = -offset_minutes;
  } else if (zone != "Z" && zone != "z") {
    return std::nullopt;
  }
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t seconds = ((days * 24 + hour) * 60 + minute - offset_minutes) * 60 + second;
  return seconds * 1'000'000 + fraction_us;
}

rate_limits rate_limits_of(const http_headers& headers, std::int64_t utc_now_us) {
  const auto& fields = headers.fields(); // most answers state nothing: 18 names need not be put together then
  if (std::none_of(fields.begin(), fields.end(), [](const auto& field) { return field.first.find("-ratelimit-") != std::string::npos; }))
    return {};
  const auto duration = [&](const std::string& name) -> std::optional<milliseconds> {
    const auto* text = headers.find(name);
    return text ? duration_of(*text) : std::nullopt;
  };
  const auto from_now = [&](const std::string& name) -> std::optional<milliseconds> {
    const auto* text = headers.find(name);
    const auto at = text ? rfc3339_of(*text) : std::nullopt;
    if (!at)
      return std::nullopt;
    const auto wait_us = std::max<std::int64_t>(0, *at - reference_time(headers, utc_now_us));
    if (static_cast<double>(wait_us) / 1'000 > year_ms)
      return std::nullopt;
    return milliseconds((wait_us + 999) / 1'000);
  };
  const auto openai = [&](const std::string& what) {
    return stated{count_of(headers.find("x-ratelimit-remaining-" + what)), duration("x-ratelimit-reset-" + what),
                  count_of(headers.find("x-ratelimit-limit-" + what))};
  };
  const auto anthropic = [&](const std::string& what) {
    const auto name = "anthropic-ratelimit-" + what;
    return stated{count_of(headers.find(name + "-remaining")), from_now(name + "-reset"), count_of(headers.find(name + "-limit"))};
  };
  const auto requests = tighter(openai("requests"), anthropic("requests"));
  auto tokens = openai("tokens");
  for (const char* what : {"tokens", "input-tokens"})
    tokens = stated(tighter(tokens, anthropic(what)));
  // How long an answer will be nobody knows, and what is left for answers is far less than a request may be long: it counts once it is
  // gone.
  if (const auto output = anthropic("output-tokens"); output.remaining == 0)
    tokens = output;
  rate_limits out;
  out.remaining_requests = requests.remaining;
  out.reset_requests = requests.reset;
  out.limit_requests = requests.limit;
  out.remaining_tokens = tokens.remaining;
  out.reset_tokens = tokens.reset;
  out.limit_tokens = tokens.limit;
  return out;
}

} // namespace troupe::llm
