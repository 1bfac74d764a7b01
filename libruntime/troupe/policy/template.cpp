#include "troupe/policy/template.hpp"

#include <charconv>
#include <utility>

namespace troupe {
namespace {

using nlohmann::json;

bool is_white(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

std::size_t skip_white(std::string_view text, std::size_t at) {
  while (at < text.size() && is_white(text[at]))
    ++at;
  return at;
}

tl::unexpected<error> wrong(std::size_t offset, const std::string& words) {
  return fail(error_code::invalid_argument, "template, offset " + std::to_string(offset) + ": " + words);
}

bool in_path(char c) {
  return static_cast<unsigned char>(c) > 0x20 && c != '{' && c != '}' && c != '"' && c != '\'' && c != 0x7F;
}

expected<text_template::path> split_path(std::string_view text, std::size_t offset) {
  text_template::path out;
  for (std::size_t at = 0; at <= text.size();) {
    const auto dot = std::min(text.find('.', at), text.size());
    if (dot == at)
      return wrong(offset + at, "the path " + std::string(text) + " has an empty part");
    out.emplace_back(text.substr(at, dot - at));
    at = dot + 1;
  }
  return out;
}

void write_value(std::string& out, const json& value) {
  if (value.is_string())
    out.append(value.get_ref<const std::string&>());
  else
    out.append(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

} // namespace

expected<text_template> text_template::parse(std::string_view text) {
  text_template out;
  std::string literal;
  std::size_t at = 0;
  while (at < text.size()) {
    const auto open = text.find("{{", at);
    literal.append(text.substr(at, open == std::string_view::npos ? open : open - at));
    if (open == std::string_view::npos)
      break;
    auto inside = skip_white(text, open + 2);
    constexpr std::string_view braces = "\"{{\"";
    const bool quoted = text.substr(inside, braces.size()) == braces;
    const auto begin = inside;
    if (quoted)
      inside += braces.size();
    else
      while (inside < text.size() && in_path(text[inside]))
        ++inside;
    const auto path = text.substr(begin, inside - begin);
    inside = skip_white(text, inside);
    if (inside >= text.size())
      return wrong(open, "\"{{\" is not closed by \"}}\"; literal braces are written {{ \"{{\" }}");
    if (text.substr(inside, 2) != "}}")
      return wrong(inside, "a path such as input.topic is expected between {{ and }}; literal braces are written {{ \"{{\" }}");
    at = inside + 2;
    if (quoted) {
      literal.append("{{");
      continue;
    }
    if (path.empty())
      return wrong(open, "there is no path between {{ and }}");
    auto parts = split_path(path, begin);
    if (!parts)
      return tl::unexpected<error>(parts.error());
    if (!literal.empty())
      out.parts_.emplace_back(std::exchange(literal, {}));
    out.parts_.emplace_back(out.paths_.size());
    out.paths_.push_back(*std::move(parts));
  }
  if (!literal.empty())
    out.parts_.emplace_back(std::move(literal));
  return out;
}

std::string text_template::render(const json& scope) const {
  std::string out;
  for (const auto& part : parts_) {
    if (const auto* literal = std::get_if<std::string>(&part))
      out.append(*literal);
    else if (const auto* value = value_at(scope, paths_[std::get<std::size_t>(part)]))
      write_value(out, *value);
  }
  return out;
}

std::string text_template::render_encoded(const json& scope, const std::function<std::string(std::string_view)>& encode) const {
  std::string out;
  for (const auto& part : parts_) {
    if (const auto* literal = std::get_if<std::string>(&part)) {
      out.append(*literal);
    } else if (const auto* value = value_at(scope, paths_[std::get<std::size_t>(part)])) {
      std::string text;
      write_value(text, *value);
      out.append(encode(text));
    }
  }
  return out;
}

std::string text_template::render_each(const json& scope,
                                       const std::function<std::string(std::string_view literal, const json* value)>& write) const {
  std::string out;
  std::string_view before;
  for (const auto& part : parts_) {
    if (const auto* literal = std::get_if<std::string>(&part)) {
      out.append(before = *literal);
    } else {
      out.append(write(before, value_at(scope, paths_[std::get<std::size_t>(part)])));
      before = {};
    }
  }
  return out;
}

std::optional<std::string> text_template::render_argument(const json& scope) const {
  if (is_path()) {
    const auto* value = value_at(scope, paths_.front());
    if (value == nullptr || value->is_null())
      return std::nullopt;
  }
  return render(scope);
}

json text_template::evaluate(const json& scope) const {
  if (!is_path())
    return render(scope);
  const auto* value = value_at(scope, paths_.front());
  return value == nullptr ? json() : *value;
}

const json* value_at(const json& scope, const text_template::path& path) {
  const auto* at = &scope;
  for (const auto& name : path) {
    if (at->is_object()) {
      const auto member = at->find(name);
      if (member == at->end())
        return nullptr;
      at = &*member;
    } else if (at->is_array()) {
      std::size_t item = 0;
      const auto* end = name.data() + name.size();
      const auto parsed = std::from_chars(name.data(), end, item);
      if (parsed.ec != std::errc{} || parsed.ptr != end || item >= at->size())
        return nullptr;
      at = &(*at)[item];
    } else {
      return nullptr;
    }
  }
  return at;
}

} // namespace troupe
