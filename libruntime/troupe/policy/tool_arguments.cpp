#include "troupe/policy/tool_arguments.hpp"

#include <string>
#include <vector>

#include "troupe/util/json_text.hpp"
#include "troupe/util/parse_json.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::policy {

namespace {

/// Where and what is wrong with a text that is no JSON, in words for a model.
std::string syntax_problem(std::string_view text, const json::exception& problem) {
  const auto* syntax = dynamic_cast<const json::parse_error*>(&problem);
  if (syntax && syntax->byte > text.size())
    return "the JSON ends too early, after " + std::to_string(text.size())
           + " bytes: it was cut off; send the whole call again, shorter if need be";
  std::string words = problem.what();
  if (const auto name_end = words.find("] "); name_end != std::string::npos)
    words.erase(0, name_end + 2); // the library's number for it
  return "the arguments are not JSON: " + words.substr(0, 300);
}

tl::unexpected<error> wrong(std::string_view tool, std::string words) {
  mend_utf8(words);
  return fail(error_code::invalid_argument, "tool \"" + std::string(tool) + "\" was not called: " + words);
}

/// One line for each broken rule.
std::string words_of(const std::vector<schema::violation>& broken) {
  std::string out = "the arguments break the tool's schema:";
  for (const auto& each : broken)
    out.append("\n  ").append(each.pointer.empty() ? "/" : each.pointer).append(": ").append(each.message);
  return out;
}

} // namespace

expected<json> check_arguments(const schema::compiled_schema& arguments, std::string_view tool, std::string_view text) {
  if (text.size() > argument_bytes_max)
    return wrong(tool, "the arguments have " + std::to_string(text.size()) + " bytes, and at most " + std::to_string(argument_bytes_max)
                           + " are taken");
  if (!is_valid_utf8(text))
    return wrong(tool, "the arguments are not valid UTF-8");
  json value = json::object();
  if (text.find_first_not_of(" \t\r\n") != std::string_view::npos) {
    if (deeper_than(text, argument_depth_max))
      return wrong(tool, "the arguments are nested deeper than " + std::to_string(argument_depth_max) + " levels");
    if (const auto number = inexact_integer(text))
      return wrong(tool, "the number " + std::string(number->substr(0, 100))
                             + " has more digits than can be kept; send it as a string, if the tool takes one");
    try {
      value = json::parse(text.begin(), text.end());
    } catch (const json::exception& problem) {
      return wrong(tool, syntax_problem(text, problem));
    }
  }
  if (!value.is_object())
    return wrong(tool, std::string("the arguments must be one JSON object, and are ") + value.type_name());
  if (const auto broken = arguments.validate(value); !broken.empty())
    return wrong(tool, words_of(broken));
  return value;
}

} // namespace troupe::policy
