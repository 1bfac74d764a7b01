// Rendering: the half of request_template.cpp that sees what a model says.
#include "troupe/policy/request_template.hpp"

#include <algorithm>
#include <string_view>

#include <strings.h>

namespace troupe::policy {

namespace {

using nlohmann::json;

constexpr std::size_t url_bytes_max = 8'192;
constexpr std::size_t header_bytes_max = 16'384;

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_unreserved(c)) {
      out.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out.append({'%', digits[byte >> 4], digits[byte & 15]});
  }
  return out;
}

/// Whether a server that decodes and normalises could walk up by this value.
bool climbs(std::string_view value) {
  while (true) {
    const auto end = value.find_first_of("/\\");
    if (value.substr(0, end) == "..")
      return true;
    if (end == std::string_view::npos)
      return false;
    value.remove_prefix(end + 1);
  }
}

std::string dotted(const text_template::path& path) {
  std::string out;
  for (const auto& each : path)
    out += (out.empty() ? "" : ".") + each;
  return out;
}

std::string render_json(const text_template& text, const json& arguments) {
  constexpr auto replace = json::error_handler_t::replace;
  json_walk walk;
  return text.render_each(arguments, [&](std::string_view literal, const json* value) {
    walk.pass(literal);
    if (!walk.quoted)
      return value ? value->dump(-1, ' ', false, replace) : "null";
    if (!value || value->is_null())
      return std::string();
    const auto inside = value->is_string() ? value->dump(-1, ' ', false, replace) : json(value->dump(-1, ' ', false, replace)).dump();
    return inside.substr(1, inside.size() - 2);
  });
}

bool is_absent(const json& arguments, const text_template::path& path) {
  const auto* value = value_at(arguments, path);
  return value == nullptr || value->is_null();
}

} // namespace

expected<std::string> request_template::render_url(const json& arguments) const {
  auto out = origin_;
  bool first = true;
  for (const auto& segment : segments_) {
    if (!std::exchange(first, false))
      out += '/';
    for (const auto& path : segment.paths()) {
      const auto* value = value_at(arguments, path);
      const auto text = value == nullptr || value->is_null() ? std::string()
                        : value->is_string()                 ? value->get<std::string>()
                                                             : value->dump();
      if (text.empty())
        return unusable("\"" + dotted(path) + "\" is empty or absent, and the address needs it");
      if (climbs(text))
        return unusable("\"" + dotted(path) + "\" has \"..\" in it, and a value cannot leave its place in the address");
    }
    const auto text = segment.render_encoded(arguments, percent_encoded);
    if (!segment.paths().empty() && (text == "." || text == ".."))
      return unusable("\"" + dotted(segment.paths().front()) + "\" would make \"" + text + "\" of a part of the address");
    out += text;
  }
  char mark = '?';
  for (const auto& part : query_) {
    if (part.optional && is_absent(arguments, part.value.paths().front()))
      continue;
    out += mark + part.name + part.value.render_encoded(arguments, percent_encoded);
    mark = '&';
  }
  if (out.size() > url_bytes_max)
    return unusable("the address would have " + std::to_string(out.size()) + " bytes, and at most " + std::to_string(url_bytes_max)
                    + " are sent; shorten the arguments");
  return out;
}

json request_template::filled(const body_part& part, const json& arguments) {
  switch (part.kind) {
  case body_part::shape::text:
    return part.text.evaluate(arguments);
  case body_part::shape::object: {
    json out = json::object();
    for (std::size_t i = 0; i < part.names.size(); ++i)
      if (const auto& each = part.elements[i];
          each.kind != body_part::shape::text || !each.text.is_path() || !is_absent(arguments, each.text.paths().front()))
        out[part.names[i]] = filled(each, arguments);
    return out;
  }
  case body_part::shape::array: {
    json out = json::array();
    for (const auto& each : part.elements)
      out.push_back(filled(each, arguments));
    return out;
  }
  case body_part::shape::fixed:
    break;
  }
  return part.fixed;
}

expected<std::string> request_template::render_body(const json& arguments) const {
  constexpr auto replace = json::error_handler_t::replace;
  if (has_body_ && body_.kind == body_part::shape::text)
    return body_shape_ == text_shape::json   ? render_json(body_.text, arguments)
           : body_shape_ == text_shape::form ? body_.text.render_encoded(arguments, percent_encoded)
                                             : body_.text.render(arguments);
  if (has_body_)
    return filled(body_, arguments).dump(-1, ' ', false, replace);
  if (!sends_rest_)
    return std::string();
  json rest = json::object();
  for (const auto& [name, value] : arguments.items())
    if (!std::binary_search(named_.begin(), named_.end(), name))
      rest[name] = value;
  return rest.dump(-1, ' ', false, replace);
}

expected<request_parts> request_template::render(const json& arguments, const std::map<std::string, std::string>& secrets) const {
  request_parts out;
  auto url = render_url(arguments);
  if (!url)
    return tl::unexpected(url.error());
  out.url = std::move(*url);
  bool has_type = false;
  for (const auto& [name, text] : headers_) {
    json scope = json::object();
    for (const auto& path : text.paths())
      if (path.front() == "env")
        scope["env"] = secrets;
      else if (const auto at = arguments.find(path.front()); at != arguments.end())
        scope[path.front()] = *at;
    auto value = text.render_argument(scope);
    if (!value)
      continue;
    if (has_control(*value) || value->size() > header_bytes_max) // words without the value: it may hold a secret
      return unusable("the header \"" + name + "\" would have a line break or another control character in it, or more than "
                      + std::to_string(header_bytes_max) + " bytes; arguments for it are short and on one line");
    has_type = has_type || ::strcasecmp(name.c_str(), "content-type") == 0;
    out.headers.emplace_back(name, std::move(*value));
  }
  auto body = render_body(arguments);
  if (!body)
    return tl::unexpected(body.error());
  out.body = std::move(*body);
  if (!has_type && !content_type_.empty())
    out.headers.emplace_back("Content-Type", content_type_);
  return out;
}

} // namespace troupe::policy
