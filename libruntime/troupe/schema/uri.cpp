#include "troupe/schema/uri.hpp"

#include <algorithm>
#include <cstddef>

namespace troupe::schema {
namespace {

struct parts {
  std::optional<std::string_view> scheme;
  std::optional<std::string_view> authority;
  std::string_view path;
  std::optional<std::string_view> query;
};

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_scheme_char(char c) {
  return is_letter(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
}

parts split(std::string_view uri) {
  parts out;
  std::size_t colon = 0;
  while (colon < uri.size() && is_scheme_char(uri[colon]))
    ++colon;
  if (colon > 0 && colon < uri.size() && uri[colon] == ':' && is_letter(uri.front())) {
    out.scheme = uri.substr(0, colon);
    uri.remove_prefix(colon + 1);
  }
  if (uri.substr(0, 2) == "//") {
    uri.remove_prefix(2);
    const auto end = uri.find_first_of("/?");
    out.authority = uri.substr(0, end);
    uri = end == std::string_view::npos ? std::string_view{} : uri.substr(end);
  }
  const auto question = uri.find('?');
  out.path = uri.substr(0, question);
  if (question != std::string_view::npos)
    out.query = uri.substr(question + 1);
  return out;
}

/// RFC 3986, section 5.2.4, over segments.
std::string without_dots(std::string_view path) {
  std::string out;
  const bool absolute = !path.empty() && path.front() == '/';
  std::size_t at = absolute ? 1 : 0;
  if (absolute)
    out = "/";
  const auto floor = out.size();
  while (at <= path.size()) {
    const auto slash = std::min(path.find('/', at), path.size());
    const auto segment = path.substr(at, slash - at);
    const bool last = slash == path.size();
    if (segment == "..") {
      if (out.size() > floor) {
        const auto cut = out.rfind('/', out.size() - 2);
        out.resize(cut == std::string::npos || cut + 1 < floor ? floor : cut + 1);
      }
    } else if (segment != ".") {
      out.append(segment);
      if (!last)
        out.push_back('/');
    }
    if (last)
      break;
    at = slash + 1;
  }
  return out;
}

std::string join(const parts& whole, std::string_view path) {
  std::string out;
  if (whole.scheme)
    out.append(*whole.scheme).push_back(':');
  if (whole.authority)
    out.append("//").append(*whole.authority);
  out.append(path);
  if (whole.query) {
    out.push_back('?');
    out.append(*whole.query);
  }
  return out;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

} // namespace

std::optional<split_uri> split_fragment(std::string_view reference) {
  const auto hash = reference.find('#');
  split_uri out{std::string(reference.substr(0, hash)), {}};
  if (hash == std::string_view::npos)
    return out;
  const auto text = reference.substr(hash + 1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.fragment.push_back(text[i]);
      continue;
    }
    const bool whole = i + 2 < text.size();
    const int high = whole ? hex_digit(text[i + 1]) : -1;
    const int low = whole ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0)
      return std::nullopt;
    out.fragment.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

std::string resolve_uri(std::string_view base, std::string_view reference) {
  if (reference.empty())
    return std::string(base);
  auto target = split(reference);
  if (target.scheme)
    return join(target, target.authority ? without_dots(target.path) : std::string(target.path));
  const auto from = split(base);
  target.scheme = from.scheme;
  if (target.authority)
    return join(target, without_dots(target.path));
  target.authority = from.authority;
  if (target.path.empty()) {
    if (!target.query)
      target.query = from.query;
    return join(target, from.path);
  }
  if (target.path.front() == '/')
    return join(target, without_dots(target.path));
  std::string merged;
  if (from.authority && from.path.empty())
    merged = "/";
  else if (const auto slash = from.path.rfind('/'); slash != std::string_view::npos)
    merged = from.path.substr(0, slash + 1);
  return join(target, without_dots(merged.append(target.path)));
}

} // namespace troupe::schema
