#include "troupe/config/substitute.hpp"

#include <algorithm>

#include "troupe/util/suggest.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::config {

namespace {

constexpr std::size_t longest_result = std::size_t{64} * 1024;

bool is_env_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; };
  return !name.empty() && letter(name.front())
         && std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

class substitution {
public:
  substitution(const environment& variables, reading& in) : environment_(variables), in_(in) {}

  /// Depth is bounded by the reader.
  void walk(json& value, const std::string& pointer) {
    if (value.is_string()) {
      text(value.get_ref<std::string&>(), pointer);
    } else if (value.is_object()) {
      for (auto& [key, member] : value.get_ref<json::object_t&>())
        walk(member, child_of(pointer, key));
    } else if (value.is_array()) {
      for (std::size_t i = 0; i < value.size(); ++i)
        walk(value[i], child_of(pointer, i));
    }
  }

private:
  void text(std::string& from, const std::string& pointer) {
    if (from.find("${") == std::string::npos)
      return;
    std::string out;
    std::size_t at = 0;
    while (at < from.size()) {
      const auto found = from.find("${", at);
      if (found == std::string::npos)
        break;
      if (found > at && from[found - 1] == '$') {
        out.append(from, at, found - 1 - at);
        out += "${";
        at = found + 2;
        continue;
      }
      out.append(from, at, found - at);
      const auto end = from.find('}', found);
      const auto name = end == std::string::npos ? std::string() : from.substr(found + 2, end - found - 2);
      if (!is_env_name(name)) {
        wrong(pointer, "after ${ stands the name of an environment variable and }, as in ${HOME}; write $${ for the characters themselves");
        return;
      }
      const auto value = environment_(name);
      if (!value) {
        wrong(pointer, "the environment variable " + in_quotes(name) + " is not set");
        return;
      }
      if (!is_valid_utf8(*value) || value->find('\0') != std::string::npos || out.size() + value->size() > longest_result) {
        wrong(pointer, "the value of the environment variable " + in_quotes(name) + " is no text of UTF-8, or longer than 64 KiB");
        return;
      }
      out += *value;
      at = end + 1;
    }
    if (at < from.size())
      out.append(from, at, std::string::npos);
    from = std::move(out);
    in_.secret.insert(pointer);
  }

  /// The string stays as it is; later checks leave it alone.
  void wrong(const std::string& pointer, std::string message) {
    in_.issues.error({pointer, std::move(message), false});
    in_.issues.told_before(pointer);
  }

  const environment& environment_;
  reading& in_;
};

} // namespace

void substitute_environment(json& document, const environment& variables, reading& in) {
  if (!document.is_object())
    return;
  substitution run(variables, in);
  for (const auto* section : {"providers", "journal", "queue", "node", "api"})
    if (const auto found = document.find(section); found != document.end())
      run.walk(*found, child_of("", section));
  if (const auto checkpoint = document.find("checkpoint"); checkpoint != document.end() && checkpoint->is_object())
    if (const auto notify = checkpoint->find("notify"); notify != checkpoint->end())
      run.walk(*notify, "/checkpoint/notify");
  if (const auto alerts = document.find("alerts"); alerts != document.end() && alerts->is_array())
    for (std::size_t i = 0; i < alerts->size(); ++i)
      if ((*alerts)[i].is_object())
        if (const auto notify = (*alerts)[i].find("notify"); notify != (*alerts)[i].end())
          run.walk(*notify, child_of("/alerts", i) + "/notify");
}

} // namespace troupe::config
