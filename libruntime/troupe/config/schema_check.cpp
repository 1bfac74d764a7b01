#include "troupe/config/schema_check.hpp"

#include <cstdlib>
#include <stdexcept>

#include "troupe/config/load.hpp"
#include "troupe/schema/schema.hpp"
#include "troupe/util/duration.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

const schema::compiled_schema& compiled() {
  static const auto made = [] {
    auto result = schema::compiled_schema::compile(json::parse(schema_text()));
    if (!result) // a defect of the shipped file, which a test compiles
      throw std::logic_error("config/troupe.schema.json: " + result.error().text());
    return std::move(*result);
  }();
  return made;
}

const json* at(const json& document, const std::string& pointer) {
  const json* value = &document;
  for (const auto& token : pointer_tokens(pointer)) {
    if (value->is_object()) {
      const auto found = value->find(token);
      if (found == value->end())
        return nullptr;
      value = &*found;
    } else if (value->is_array()) {
      const auto index = static_cast<std::size_t>(std::strtoull(token.c_str(), nullptr, 10));
      if (index >= value->size())
        return nullptr;
      value = &(*value)[index];
    } else {
      return nullptr;
    }
  }
  return value;
}

std::string parent_of(const std::string& pointer) {
  return pointer.substr(0, pointer.rfind('/'));
}

/// Where a pattern says less than its purpose does. Found by the pattern's own text, which the violation ends with.
std::string words_for_pattern(const json& value, const std::string& message) {
  const auto text = value.is_string() ? value.get<std::string>() : std::string();
  const auto about = [&](std::string_view pattern) {
    return message.size() >= pattern.size() && message.compare(message.size() - pattern.size(), pattern.size(), pattern) == 0;
  };
  if (about("^[0-9]+(ms|s|m|h|d)$") || about("^[0-9]+(ms|s|m|h|d)$|\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}")) {
    const bool word = about("^p95$|^[0-9]+(ms|s|m|h|d)$") || about("^(brutal_kill|infinity)$|^[0-9]+(ms|s|m|h|d)$");
    if (const auto read = parse_duration(text); !read)
      return read.error().message + (!word ? "" : about("^p95$|^[0-9]+(ms|s|m|h|d)$") ? ", or p95" : ", or brutal_kill, or infinity");
  }
  if (about("^[A-Za-z_][A-Za-z0-9_]*$"))
    return "this is no name of an environment variable; write the name, never the secret itself"; // it may be the secret: not shown
  if (about("^[A-Za-z0-9_-]{1,64}$"))
    return in_quotes(text) + " is no name; names are of letters, digits, _ and -, at most 64";
  if (about("^[A-Za-z0-9_.-]{1,64}$") || about("^[A-Za-z0-9_.-]{1,64}$|\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}"))
    return in_quotes(text) + " is no name; names are of letters, digits, _ - and ., at most 64";
  if (about("^[0-9]{1,10}(\\.[0-9]{1,6})?$"))
    return in_quotes(text) + " is no amount of US dollars; write a decimal number of at most six decimals, as in 5.00";
  if (about("^[0-9]+(B|KiB|MiB|GiB|kB|MB|GB)$"))
    return in_quotes(text) + " is no size; write a whole number and a unit, as in 512MiB";
  if (about("|^[0-9A-Fa-f:.]+$"))
    return in_quotes(text) + " is no host; write example.com, *.example.com, example.com:8443 or 127.0.0.1:8080";
  if (about("^https?://") || about("^https?://|\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}"))
    return in_quotes(text) + " is no address; it begins with http:// or https://";
  return message;
}

/// Whether the schema wants a duration there.
bool is_time(const std::vector<std::string>& tokens) {
  static constexpr std::string_view keys[] = {"after",     "base",     "baseline",      "cap",  "cpu",     "open_for", "per",   "ping",
                                              "retention", "shutdown", "start_timeout", "time", "timeout", "window",   "within"};
  return !tokens.empty() && std::find(std::begin(keys), std::end(keys), tokens.back()) != std::end(keys);
}

/// What was most likely meant by a number without a unit.
std::string whole_seconds(const json& number) {
  return number.is_number_integer() && number.get<std::int64_t>() > 0 ? number.dump() + "s" : "10s";
}

/// The member of `object` that `property "NAME" is not allowed …` names; a long name is cut there. Empty where none is found.
std::string named_property(const std::string& message, const json& object) {
  const auto start = message.find('"');
  const auto end = message.find("\" is not allowed", start == std::string::npos ? message.size() : start + 1);
  if (end == std::string::npos || !object.is_object())
    return {};
  const auto parsed = json::parse(message.begin() + static_cast<std::ptrdiff_t>(start),
                                  message.begin() + static_cast<std::ptrdiff_t>(end) + 1, nullptr, false);
  auto name = parsed.is_string() ? parsed.get<std::string>() : message.substr(start + 1, end - start - 1);
  if (object.contains(name))
    return name;
  if (const auto cut = name.find("…"); cut != std::string::npos)
    name.resize(cut);
  for (const auto& [key, value] : object.items())
    if (key.compare(0, name.size(), name) == 0)
      return key;
  return {};
}

/// What decides which keys an object has.
std::string circumstances(const json& object) {
  for (const auto* key : {"kind", "by", "metric"})
    if (const auto found = object.find(key); found != object.end() && found->is_string())
      return std::string(key) + ": " + found->get<std::string>();
  return {};
}

issue issue_of(const json& document, schema::violation found) {
  const auto tokens = pointer_tokens(found.pointer);
  const auto* value = at(document, found.pointer);
  issue out{found.pointer, std::move(found.message), false};
  const auto replace = [&](std::string_view begin, std::string_view by) {
    if (out.message.compare(0, begin.size(), begin) == 0)
      out.message.replace(0, begin.size(), by);
  };
  const auto& rule = found.rule;
  if (rule == "additionalProperties" || rule == "propertyNames") {
    out.at_key = true;
    const auto name = value == nullptr ? std::string() : named_property(out.message, *value);
    if (!name.empty())
      out.pointer = child_of(found.pointer, name);
    if (rule == "additionalProperties") {
      replace("property ", "unknown key ");
      if (const auto cut = out.message.find(" is not allowed"); cut != std::string::npos)
        out.message.erase(cut, std::string_view(" is not allowed").size());
    } else {
      const auto words = words_for_pattern(json(name), out.message);
      out.message = words == out.message ? "no such key: " + out.message : words;
    }
  } else if (rule == "required" || rule == "dependentRequired") {
    out.at_key = true;
    replace("required property ", "the key ");
    replace("property ", "the key ");
  } else if (rule == "minProperties" || rule == "minItems") {
    out.at_key = true;
    out.message = value != nullptr && value->is_array() && !value->empty() ? out.message : std::string("is empty; at least one is needed");
  } else if (rule == "oneOf" && tokens.size() > 1 && value != nullptr && value->is_object()) {
    const bool is_task = tokens[tokens.size() - 2] == "tasks";
    out.at_key = true;
    out.message =
        is_task ? "a task names exactly one of agent, agents and workflow" : "a child names exactly one of agent, pool and supervisor";
  } else if (rule == "false" && !tokens.empty()) {
    out.at_key = true;
    const auto* parent = at(document, parent_of(found.pointer));
    const auto with = parent == nullptr ? std::string() : circumstances(*parent);
    const auto& key = tokens.back();
    if (key == "resolve")
      out.message = "resolve makes one answer of several: it needs agents";
    else if (key == "with")
      out.message = "with is the input of a sub-workflow: it needs workflow";
    else if (key == "instruction")
      out.message = "a sub-workflow takes no instruction; give it its input by with";
    else if (!with.empty())
      out.message = "the key " + in_quotes(key) + " does not go with " + with;
    else
      out.message = "the key " + in_quotes(key) + " does not go with the others here";
  } else if (rule == "pattern" && value != nullptr) {
    out.message = words_for_pattern(*value, out.message);
  } else if (rule == "type") {
    if (value != nullptr && value->is_null()) {
      out.at_key = true;
      replace("is null, but must be", "is empty, but must be");
    } else if (const auto yaml_bool = value != nullptr && value->is_string() ? value->get<std::string>() : "";
               (yaml_bool == "yes" || yaml_bool == "on" || yaml_bool == "no" || yaml_bool == "off")
               && out.message.find("must be a boolean") != std::string::npos) {
      out.message += yaml_bool == "yes" || yaml_bool == "on" ? "; write true" : "; write false";
    }
    if (value != nullptr && value->is_number() && is_time(tokens))
      out.message = value->dump() + " has no unit; write a whole number and a unit, as in " + whole_seconds(*value);
    for (const auto& [theirs, ours] : std::initializer_list<std::pair<std::string_view, std::string_view>>{
             {"must be an object", "must be a mapping"}, {"must be an array", "must be a list"}, {"must be a string", "must be a text"}})
      if (const auto found_at = out.message.find(theirs); found_at != std::string::npos)
        out.message.replace(found_at, theirs.size(), ours);
  }
  return out;
}

/// Whether a misspelt key explains this one: what is missing is most likely what was meant by it.
bool is_consequence(const schema::violation& each, const std::vector<schema::violation>& all) {
  if (each.rule != "oneOf" && each.rule != "required")
    return false;
  for (const auto& other : all) {
    if (other.pointer != each.pointer)
      continue;
    // The nearest alternative of a task or a child, where none holds.
    if (other.rule == "oneOf" && each.rule == "required"
        && (each.message.find("\"agent\"") != std::string::npos || each.message.find("\"agents\"") != std::string::npos))
      return true;
    if (other.rule != "additionalProperties")
      continue;
    const auto meant = other.message.find("did you mean ");
    if (meant == std::string::npos)
      continue;
    if (each.rule == "oneOf" || each.message.find(other.message.substr(meant + 13, other.message.size() - meant - 14)) != std::string::npos)
      return true;
  }
  return false;
}

} // namespace

void check_schema(const json& document, issue_list& into) {
  const auto found = compiled().validate(document, problem_list::most + 1);
  for (const auto& each : found)
    if (!is_consequence(each, found))
      into.error(issue_of(document, each));
  into.schema_done();
}

} // namespace troupe::config
