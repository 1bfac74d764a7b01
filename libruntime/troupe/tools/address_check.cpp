#include "troupe/tools/address_check.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <curl/curl.h>

namespace troupe::tools {

namespace {

struct block {
  std::uint32_t network;
  int bits;
};

constexpr std::uint32_t v4(unsigned a, unsigned b, unsigned c, unsigned d) {
  return a << 24 | b << 16 | c << 8 | d;
}

constexpr block not_public[] = {
    {v4(0, 0, 0, 0), 8},     {v4(10, 0, 0, 0), 8},      {v4(100, 64, 0, 0), 10},  {v4(127, 0, 0, 0), 8},    {v4(169, 254, 0, 0), 16},
    {v4(172, 16, 0, 0), 12}, {v4(192, 0, 0, 0), 24},    {v4(192, 0, 2, 0), 24},   {v4(192, 88, 99, 0), 24}, {v4(192, 168, 0, 0), 16},
    {v4(198, 18, 0, 0), 15}, {v4(198, 51, 100, 0), 24}, {v4(203, 0, 113, 0), 24}, {v4(224, 0, 0, 0), 4},    {v4(240, 0, 0, 0), 4},
};

bool is_public_v4(std::uint32_t address) {
  return std::none_of(std::begin(not_public), std::end(not_public),
                      [address](const block& each) { return (address >> (32 - each.bits)) == (each.network >> (32 - each.bits)); });
}

std::uint32_t v4_at(const std::uint8_t* bytes) {
  return v4(bytes[0], bytes[1], bytes[2], bytes[3]);
}

bool is_public_v6(const std::uint8_t* a) {
  static constexpr std::array<std::uint8_t, 12> nat64{0x00, 0x64, 0xff, 0x9b};
  if (std::equal(nat64.begin(), nat64.end(), a))
    return is_public_v4(v4_at(a + 12));
  if ((a[0] & 0xE0) != 0x20) // 2000::/3 is all that is global unicast
    return false;
  if (a[0] == 0x20 && a[1] == 0x01 && (a[2] & 0xFE) == 0x00) // 2001::/23: Teredo, benchmarks, ORCHID
    return false;
  if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8) // documentation
    return false;
  if (a[0] == 0x3f && a[1] == 0xff && (a[2] & 0xF0) == 0) // documentation
    return false;
  return !(a[0] == 0x20 && a[1] == 0x02); // 6to4
}

struct url_free {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

std::optional<std::string> part_of(CURLU* url, CURLUPart part, unsigned flags) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK)
    return std::nullopt;
  std::string out(text);
  curl_free(text);
  return out;
}

/// Lower case, no brackets, no zone, no trailing dot; an address in the form that inet_ntop gives it.
std::string normal_host(std::string host) {
  std::transform(host.begin(), host.end(), host.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  if (!host.empty() && host.back() == '.')
    host.pop_back();
  in6_addr six{};
  char text[INET6_ADDRSTRLEN];
  if (inet_pton(AF_INET6, host.c_str(), &six) == 1 && inet_ntop(AF_INET6, &six, text, sizeof text))
    return text;
  return host;
}

bool is_literal(const std::string& host) {
  in_addr four{};
  in6_addr six{};
  return inet_pton(AF_INET, host.c_str(), &four) == 1 || inet_pton(AF_INET6, host.c_str(), &six) == 1;
}

std::string text_of(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address->sa_family == AF_INET)
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text, sizeof text);
  else if (address->sa_family == AF_INET6)
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, text, sizeof text);
  return text;
}

expected<allowed_host> parse_entry(const std::string& entry) {
  allowed_host out;
  auto host = entry;
  const auto wrong = [&entry] {
    return fail(error_code::invalid_argument,
                "`allow_hosts` has \"" + entry
                    + "\", which is no host; write example.com, *.example.com, example.com:8443 or 127.0.0.1:8080");
  };
  const auto bracket = host.rfind(']'), colon = host.rfind(':');
  const bool bare_v6 = bracket == std::string::npos && colon != host.find(':');
  if (colon != std::string::npos && !bare_v6 && (bracket == std::string::npos || colon > bracket)) {
    const auto* end = host.data() + host.size();
    const auto read = std::from_chars(host.data() + colon + 1, end, out.port);
    if (read.ec != std::errc() || read.ptr != end || out.port == 0)
      return wrong();
    host.resize(colon);
  }
  if (host.rfind("*.", 0) == 0) {
    out.below = true;
    host.erase(0, 2);
  }
  out.host = normal_host(host);
  out.is_address = is_literal(out.host);
  if (out.host.empty() || out.host.find_first_of("/*@ ?#[]") != std::string::npos || (out.below && out.is_address)
      || (!out.is_address && out.host.find(':') != std::string::npos))
    return wrong();
  return out;
}

} // namespace

bool is_public_address(const sockaddr* address) {
  if (address->sa_family == AF_INET)
    return is_public_v4(ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr));
  return address->sa_family == AF_INET6 && is_public_v6(reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr.s6_addr);
}

bool is_loopback_address(const sockaddr* address) {
  if (address->sa_family == AF_INET)
    return (ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr) >> 24) == 127;
  return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
}

bool is_private_address(const sockaddr* address) {
  if (is_loopback_address(address))
    return true;
  if (address->sa_family == AF_INET) {
    static constexpr block own[] = {{v4(10, 0, 0, 0), 8}, {v4(100, 64, 0, 0), 10}, {v4(172, 16, 0, 0), 12}, {v4(192, 168, 0, 0), 16}};
    const auto at = ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr);
    return at != v4(100, 100, 100, 200)
           && std::any_of(std::begin(own), std::end(own), [at](const block& each) { return (at ^ each.network) >> (32 - each.bits) == 0; });
  }
  if (address->sa_family != AF_INET6)
    return false;
  const auto* a = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr.s6_addr;
  static constexpr std::array<std::uint8_t, 16> metadata{0xfd, 0x00, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54};
  return (a[0] & 0xFE) == 0xFC && !std::equal(metadata.begin(), metadata.end(), a);
}

expected<url_target> target_of(const std::string& url) {
  const auto wrong = [](const char* words) { return fail(error_code::invalid_argument, words); };
  if (url.size() > 8'192)
    return wrong("the URL is longer than 8192 bytes");
  if (std::any_of(url.begin(), url.end(), [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; }))
    return wrong("the URL has spaces or control characters; write them as %20 and so on");
  const std::unique_ptr<CURLU, url_free> parsed(curl_url());
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK)
    return wrong("it is no URL; write it with its scheme, as https://example.com/page");
  if (part_of(parsed.get(), CURLUPART_USER, 0) || part_of(parsed.get(), CURLUPART_PASSWORD, 0))
    return wrong("a URL with a user or a password in it is not fetched");
  url_target out;
  out.scheme = part_of(parsed.get(), CURLUPART_SCHEME, 0).value_or("");
  if (out.scheme != "http" && out.scheme != "https")
    return wrong("only http and https URLs are fetched");
  out.host = normal_host(part_of(parsed.get(), CURLUPART_HOST, 0).value_or(""));
  const auto port = part_of(parsed.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT).value_or("");
  std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (out.host.empty() || out.port == 0)
    return wrong("the URL names no host");
  return out;
}

expected<std::vector<allowed_host>> parse_allowed_hosts(const std::vector<std::string>& entries, bool allow_private) {
  std::vector<allowed_host> out;
  for (const auto& each : entries) {
    auto entry = parse_entry(each);
    if (!entry)
      return tl::unexpected(entry.error());
    entry->allow_private = allow_private;
    out.push_back(std::move(*entry));
  }
  return out;
}

const allowed_host* entry_for(const std::vector<allowed_host>& allowed, const url_target& target) {
  for (const auto& each : allowed) {
    if (each.port != 0 && each.port != target.port)
      continue;
    if (!each.below && target.host == each.host)
      return &each;
    if (each.below && target.host.size() > each.host.size() + 1 && target.host.ends_with("." + each.host))
      return &each;
  }
  return nullptr;
}

bool may_connect(const allowed_host& entry, const sockaddr* address) {
  return is_public_address(address) || (entry.is_address && text_of(address) == entry.host)
         || (!entry.below && entry.host == "localhost" && is_loopback_address(address))
         || (entry.allow_private && is_private_address(address));
}

} // namespace troupe::tools
