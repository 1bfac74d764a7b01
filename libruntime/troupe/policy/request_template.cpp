#include "troupe/policy/request_template.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace troupe::policy {

namespace {

using nlohmann::json;

/// Splits at a character outside of {{ … }}.
std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> out(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 2) == "{{") {
      const auto end = std::min(text.find("}}", i), text.size() - 2);
      out.back().append(text.substr(i, end + 2 - i));
      i = end + 1;
    } else if (text[i] == at) {
      out.emplace_back();
    } else {
      out.back().push_back(text[i]);
    }
  }
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

/// Whether it is name=value&name=value, each name in fixed letters.
bool is_form(const text_template& text) {
  constexpr char hole = '\1';
  const auto likely = text.render_each(json::object(), [](std::string_view, const json*) { return std::string(1, hole); });
  const auto in_name = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view("_.-[]%").find(c) < 6;
  };
  for (const auto& pair : split(likely, '&')) {
    const auto end = pair.find('=');
    if (end == 0 || end == std::string::npos || !std::all_of(pair.begin(), pair.begin() + static_cast<std::ptrdiff_t>(end), in_name)
        || std::any_of(pair.begin(), pair.end(), [](char c) { return c != hole && static_cast<unsigned char>(c) <= 0x20; }))
      return false;
  }
  return true;
}

expected<text_template> part_of_url(const std::string& text) {
  auto parsed = text_template::parse(text);
  if (!parsed)
    return unusable("url: " + parsed.error().message);
  for (const auto& path : parsed->paths())
    if (path.front() == "env")
      return unusable("url: a secret in an address stands in every log on its way; {{ env.… }} is for headers only");
  if (has_control(text) || parsed->render_encoded(json::object(), {}).find(' ') != std::string::npos)
    return unusable("url: it has a space or a control character outside of {{ }}; write %20");
  return parsed;
}

} // namespace

void json_walk::pass(std::string_view text) {
  for (const char c : text) {
    if (escaped)
      escaped = false;
    else if (quoted && c == '\\')
      escaped = true;
    else if (c == '"')
      quoted = !quoted;
  }
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F; });
}

tl::unexpected<error> unusable(std::string words) {
  return fail(error_code::invalid_argument, std::move(words));
}

bool is_reserved_header(std::string_view name) {
  static constexpr std::array<std::string_view, 13> names{
      "connection",          "content-length",   "expect", "host",    "http2-settings",    "idempotency-key", "keep-alive",
      "proxy-authorization", "proxy-connection", "te",     "trailer", "transfer-encoding", "upgrade"};
  const auto lowered = lower(name);
  return std::find(names.begin(), names.end(), lowered) != names.end();
}

expected<request_template> request_template::compile(const request_source& source) {
  request_template out;
  if (auto done = out.compile_url(source.url); !done)
    return tl::unexpected(done.error());
  if (auto done = out.compile_headers(source); !done)
    return tl::unexpected(done.error());
  std::sort(out.named_.begin(), out.named_.end());
  const bool can_have_body = source.method != "GET" && source.method != "HEAD";
  if (!source.body.is_null()) {
    if (!can_have_body)
      return unusable("body: a " + source.method + " has none");
    auto body = compile_body(source.body, "body");
    if (!body)
      return tl::unexpected(body.error());
    out.body_ = std::move(*body);
    out.has_body_ = true;
    if (out.body_.kind == body_part::shape::text)
      out.body_shape_ = shape_of(out.body_.text, source.content_type);
    if (out.body_shape_ == text_shape::json) {
      json_walk walk;
      bool cut = false;
      out.body_.text.render_each(json::object(), [&](std::string_view literal, const json*) {
        walk.pass(literal);
        cut = cut || walk.escaped;
        return std::string();
      });
      if (cut)
        return unusable("body: a backslash in a string of the JSON stands right before {{ }}, and would escape what a value begins with");
    }
  }
  out.sends_rest_ = !out.has_body_ && (source.method == "POST" || source.method == "PUT" || source.method == "PATCH");
  if (out.has_body_ || out.sends_rest_)
    out.content_type_ = !source.content_type.empty()                                      ? source.content_type
                        : !source.body.is_string() || out.body_shape_ == text_shape::json ? "application/json"
                        : out.body_shape_ == text_shape::form                             ? "application/x-www-form-urlencoded"
                                                                                          : "text/plain; charset=utf-8";
  return out;
}

request_template::text_shape request_template::shape_of(const text_template& text, const std::string& content_type) {
  if (text.is_path()) // the value is the body, and leaves no place
    return text_shape::plain;
  const auto type = lower(content_type);
  if (type.find("json") != std::string::npos)
    return text_shape::json;
  if (type.find("x-www-form-urlencoded") != std::string::npos)
    return text_shape::form;
  const auto likely = text.render_each(json::object(), [](std::string_view, const json*) { return std::string("0"); });
  const auto first = likely.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && (likely[first] == '{' || likely[first] == '[') && json::accept(likely))
    return text_shape::json;
  return type.empty() && is_form(text) ? text_shape::form : text_shape::plain;
}

bool request_template::has_loose_values() const {
  return has_body_ && body_.kind == body_part::shape::text && body_shape_ == text_shape::plain && !body_.text.paths().empty()
         && !body_.text.is_path();
}

expected<void> request_template::compile_url(const std::string& url) {
  const auto scheme = url.find("://");
  const auto named = scheme == std::string::npos ? std::string() : lower(std::string_view(url).substr(0, scheme));
  if (named != "http" && named != "https")
    return unusable("url: it begins with http:// or https://");
  const auto end = std::min(url.find_first_of("/?#", scheme + 3), url.size());
  origin_ = url.substr(0, end);
  if (origin_.find("{{") != std::string::npos)
    return unusable(
        "url: scheme, host and port are fixed text, since a template there would let the model choose whom this tool talks to; make "
        "one tool for each host");
  if (origin_.size() == scheme + 3 || origin_.find('@') != std::string::npos || origin_.find('\\') != std::string::npos)
    return unusable("url: after :// stands a host, without a user or password");
  auto rest = url.substr(end);
  if (split(rest, '#').size() > 1)
    return unusable("url: a fragment (#) is never sent; leave it out");
  const auto halves = split(rest, '?');
  for (const auto& segment : split(halves.front(), '/')) {
    if (segment == "." || segment == "..")
      return unusable("url: its path has \"" + segment + "\" in it; write where it leads");
    auto parsed = part_of_url(segment);
    if (!parsed)
      return tl::unexpected(parsed.error());
    segments_.push_back(std::move(*parsed));
  }
  has_query_ = halves.size() > 1;
  if (!has_query_)
    return {};
  std::string query = halves[1];
  for (std::size_t i = 2; i < halves.size(); ++i)
    query += "?" + halves[i];
  for (const auto& pair : split(query, '&')) {
    query_part part;
    const auto sides = split(pair, '=');
    std::string value = sides.back();
    if (sides.size() > 1) {
      part.name = sides.front() + "=";
      value = pair.substr(part.name.size());
      if (part.name.find("{{") != std::string::npos)
        return unusable("url: a name in the query is fixed text; only its value may be a template");
    }
    auto parsed = part_of_url(value);
    if (!parsed)
      return tl::unexpected(parsed.error());
    part.value = std::move(*parsed);
    part.optional = part.value.is_path();
    query_.push_back(std::move(part));
  }
  return {};
}

expected<void> request_template::compile_headers(const request_source& source) {
  for (const auto& [name, text] : source.headers) {
    const auto where = "headers/" + name + ": ";
    if (is_reserved_header(name))
      return unusable(where + "it belongs to the transfer and cannot be set here");
    auto parsed = text_template::parse(text);
    if (!parsed)
      return unusable(where + parsed.error().message);
    for (const auto& path : parsed->paths()) {
      if (path.front() != "env")
        continue;
      if (path.size() != 2)
        return unusable(where + "a secret is written {{ env.NAME }}");
      if (std::find(credentials_.begin(), credentials_.end(), name) == credentials_.end())
        credentials_.push_back(name);
    }
    headers_.emplace_back(name, std::move(*parsed));
  }
  const auto note = [this](const text_template& text) {
    for (const auto& path : text.paths())
      named_.push_back(path.front());
  };
  for (const auto& segment : segments_)
    note(segment);
  for (const auto& part : query_)
    note(part.value);
  for (const auto& [name, text] : headers_)
    note(text);
  return {};
}

expected<request_template::body_part> request_template::compile_body(const json& from, const std::string& where) {
  body_part out;
  if (from.is_string()) {
    auto parsed = text_template::parse(from.get_ref<const std::string&>());
    if (!parsed)
      return unusable(where + ": " + parsed.error().message);
    for (const auto& path : parsed->paths())
      if (path.front() == "env")
        return unusable(where + ": secrets stand in headers only, as {{ env.NAME }}");
    out.kind = body_part::shape::text;
    out.text = std::move(*parsed);
  } else if (from.is_object()) {
    out.kind = body_part::shape::object;
    const auto below = [&where](const std::string& name) { return where + "/" + name; };
    for (const auto& [name, each] : from.items()) {
      auto member = compile_body(each, below(name));
      if (!member)
        return member;
      out.names.push_back(name);
      out.elements.push_back(std::move(*member));
    }
  } else if (from.is_array()) {
    out.kind = body_part::shape::array;
    for (std::size_t i = 0; i < from.size(); ++i) {
      auto element = compile_body(from[i], where + "/" + std::to_string(i));
      if (!element)
        return element;
      out.elements.push_back(std::move(*element));
    }
  } else {
    out.fixed = from;
  }
  return out;
}

void request_template::each_path(const body_part& part, const std::function<void(const text_template::path&)>& visit) {
  for (const auto& each : part.text.paths())
    visit(each);
  for (const auto& each : part.elements)
    each_path(each, visit);
}

std::vector<std::string> request_template::secrets() const {
  std::vector<std::string> out;
  for (const auto& [name, text] : headers_)
    for (const auto& path : text.paths())
      if (path.front() == "env" && std::find(out.begin(), out.end(), path[1]) == out.end())
        out.push_back(path[1]);
  return out;
}

std::vector<std::string> request_template::arguments() const {
  std::vector<std::string> out;
  const auto add = [&out](const text_template::path& each) {
    if (each.front() != "env" && std::find(out.begin(), out.end(), each.front()) == out.end())
      out.push_back(each.front());
  };
  for (const auto& segment : segments_)
    std::for_each(segment.paths().begin(), segment.paths().end(), add);
  for (const auto& part : query_)
    std::for_each(part.value.paths().begin(), part.value.paths().end(), add);
  for (const auto& [name, text] : headers_)
    std::for_each(text.paths().begin(), text.paths().end(), add);
  each_path(body_, add);
  return out;
}

} // namespace troupe::policy
