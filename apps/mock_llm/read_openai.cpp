// Chat completions, as OpenAI checks them.
#include <algorithm>

#include "mock_llm/wire_json.hpp"

namespace troupe::mock_llm {

namespace {

using boost::json::object;

wire_error invalid(std::string message, std::string param, std::string code = {}) {
  return {400, std::move(message), "invalid_request_error", std::move(param), std::move(code)};
}

std::string at(std::size_t index, const char* member = "") {
  return "messages.[" + std::to_string(index) + "]" + member;
}

/// Reads the history message by message, and knows which calls still wait for their results.
class history_reader {
public:
  explicit history_reader(wire_request& into) : view_(into.view) {}

  std::optional<wire_error> read(const boost::json::value& value, std::size_t index) {
    if (!value.is_object())
      return invalid("Invalid type for 'messages[" + std::to_string(index) + "]': expected an object.", at(index), "invalid_type");
    const auto& message = value.get_object();
    const auto from = text_member(message, "role");
    if (!from)
      return invalid("Missing required parameter: 'messages[" + std::to_string(index) + "].role'.", at(index, ".role"),
                     "missing_required_parameter");
    if (*from != "tool")
      if (auto problem = all_answered())
        return problem;
    if (*from == "user")
      return add(message, index, role::user);
    if (*from == "assistant")
      return add_assistant(message, index);
    if (*from == "tool")
      return add_result(message, index);
    if (*from == "system" || *from == "developer")
      return add_system(message, index);
    return invalid("Invalid value: '" + std::string(from->substr(0, 40))
                       + "'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'.",
                   at(index, ".role"), "invalid_value");
  }

  std::optional<wire_error> all_answered() {
    if (waiting_.empty())
      return std::nullopt;
    std::string ids;
    for (const auto id : waiting_)
      ids.append(ids.empty() ? "" : ", ").append(id.substr(0, 100));
    return invalid(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following "
        "tool_call_ids did not have response messages: "
            + ids,
        at(asked_, ".role"));
  }

private:
  /// The text of `content`: a string, or an array of parts.
  std::optional<wire_error> text_of(const object& message, std::size_t index, bool may_be_absent, std::string_view& text) {
    const auto* content = member(message, "content");
    if (!content) {
      if (may_be_absent)
        return std::nullopt;
      return invalid("Invalid value for 'content': expected a string, got null.", at(index, ".content"));
    }
    if (content->is_string()) {
      text = view_of(content->get_string());
      return std::nullopt;
    }
    if (!content->is_array() || content->get_array().empty())
      return invalid("Invalid type for 'messages[" + std::to_string(index) + "].content': expected one of a string or array of objects.",
                     at(index, ".content"), "invalid_type");
    std::string* joined = nullptr;
    std::size_t number = 0;
    for (const auto& part : content->get_array()) {
      const auto place = ".content[" + std::to_string(number++) + "]";
      const auto type = part.is_object() ? text_member(part.get_object(), "type") : std::nullopt;
      const auto piece = part.is_object() ? text_member(part.get_object(), "text") : std::nullopt;
      if (!type || (*type == "text" && !piece)) {
        const auto missing = place + (type ? ".text" : ".type");
        return invalid("Missing required parameter: 'messages[" + std::to_string(index) + "]" + missing + "'.", at(index, missing.c_str()),
                       "missing_required_parameter");
      }
      static constexpr std::string_view known[] = {"text", "image_url", "input_audio", "refusal", "audio", "file"};
      if (std::find(std::begin(known), std::end(known), *type) == std::end(known))
        return invalid("Invalid value: '" + std::string(type->substr(0, 40))
                           + "'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', 'audio', and 'file'.",
                       at(index, (place + ".type").c_str()), "invalid_value");
      if (!piece)
        continue; // images and sounds: no rule looks at them
      if (!joined && text.empty()) {
        text = *piece;
        continue;
      }
      if (!joined)
        joined = &view_.kept.emplace_back(text);
      joined->append("\n").append(*piece);
      text = *joined;
    }
    return std::nullopt;
  }

  std::optional<wire_error> add(const object& message, std::size_t index, role from) {
    auto& added = view_.messages.emplace_back();
    added.from = from;
    return text_of(message, index, false, added.text);
  }

  std::optional<wire_error> add_system(const object& message, std::size_t index) {
    std::string_view text;
    if (auto problem = text_of(message, index, false, text))
      return problem;
    if (view_.system.empty()) {
      view_.system = text;
      return std::nullopt;
    }
    auto& joined = view_.kept.emplace_back(view_.system);
    joined.append("\n\n").append(text);
    view_.system = joined;
    return std::nullopt;
  }

  std::optional<wire_error> add_assistant(const object& message, std::size_t index) {
    const auto* calls = member(message, "tool_calls");
    auto& added = view_.messages.emplace_back();
    added.from = role::assistant;
    if (auto problem = text_of(message, index, calls != nullptr, added.text))
      return problem;
    if (!calls)
      return std::nullopt;
    if (!calls->is_array() || calls->get_array().empty())
      return invalid("Invalid 'messages[" + std::to_string(index)
                         + "].tool_calls': empty array. Expected an array with minimum length 1, but got an empty array instead.",
                     at(index, ".tool_calls"), "empty_array");
    asked_ = index;
    for (const auto& value : calls->get_array()) {
      const auto place = "messages[" + std::to_string(index) + "].tool_calls[" + std::to_string(added.calls.size()) + "]";
      const auto* function = value.is_object() ? member(value.get_object(), "function") : nullptr;
      const auto id = value.is_object() ? text_member(value.get_object(), "id") : std::nullopt;
      if (!id)
        return invalid("Missing required parameter: '" + place + ".id'.", place + ".id", "missing_required_parameter");
      if (!function || !function->is_object() || !text_member(function->get_object(), "name"))
        return invalid("Missing required parameter: '" + place + ".function.name'.", place + ".function.name",
                       "missing_required_parameter");
      const auto arguments = text_member(function->get_object(), "arguments");
      if (!arguments)
        return invalid("Invalid type for '" + place + ".function.arguments': expected a string.", place + ".function.arguments",
                       "invalid_type");
      added.calls.push_back({*id, *text_member(function->get_object(), "name"), *arguments});
      if (std::find(waiting_.begin(), waiting_.end(), *id) != waiting_.end())
        return invalid("Duplicate value for 'tool_call_id' of '" + std::string(id->substr(0, 100)) + "'.", place + ".id");
      if (waiting_.size() == 128)
        return invalid("Invalid '" + place + "': array too long. Expected an array with maximum length 128.", place,
                       "array_above_max_length");
      waiting_.push_back(*id);
    }
    return std::nullopt;
  }

  std::optional<wire_error> add_result(const object& message, std::size_t index) {
    const auto id = text_member(message, "tool_call_id");
    if (!id)
      return invalid("Missing parameter 'tool_call_id': messages with role 'tool' must have a 'tool_call_id'.", at(index, ".tool_call_id"));
    const auto asked = std::find(waiting_.begin(), waiting_.end(), *id);
    if (asked == waiting_.end())
      return invalid("Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
                     at(index, ".role"));
    waiting_.erase(asked);
    auto& added = view_.messages.emplace_back();
    added.from = role::tool;
    added.call_id = *id;
    return text_of(message, index, false, added.text);
  }

  llm::request_view& view_;
  std::vector<std::string_view> waiting_; ///< ids of calls without a result yet; at most 128
  std::size_t asked_ = 0;                 ///< the message that made them
};

/// The type that a schema states, in the vendor's words for none.
std::string_view stated_type(const object& schema) {
  return text_member(schema, "type").value_or("None");
}

bool is_tool_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

/// After the tools, among which it chooses.
std::optional<wire_error> check_tool_choice(const object& body, const std::vector<std::string_view>& tools) {
  const auto* choice = member(body, "tool_choice");
  if (!choice)
    return std::nullopt;
  if (choice->is_string()) {
    const auto word = view_of(choice->get_string());
    if (word == "auto" || word == "none" || word == "required")
      return std::nullopt;
    return invalid("Invalid value: '" + std::string(word.substr(0, 40)) + "'. Supported values are: 'none', 'auto', and 'required'.",
                   "tool_choice", "invalid_value");
  }
  if (!choice->is_object())
    return invalid("Invalid type for 'tool_choice': expected one of a string or an object.", "tool_choice", "invalid_type");
  if (text_member(choice->get_object(), "type") != std::optional<std::string_view>("function"))
    return std::nullopt; // custom and allowed tools: nothing here looks at them
  const auto* function = member(choice->get_object(), "function");
  const auto name = function && function->is_object() ? text_member(function->get_object(), "name") : std::nullopt;
  if (!name)
    return invalid("Missing required parameter: 'tool_choice.function.name'.", "tool_choice.function.name", "missing_required_parameter");
  if (std::find(tools.begin(), tools.end(), *name) == tools.end())
    return invalid("Invalid value for 'tool_choice': no function named '" + std::string(name->substr(0, 64))
                       + "' was specified in the 'tools' parameter.",
                   "tool_choice");
  return std::nullopt;
}

std::optional<wire_error> read_tools(const object& body, wire_request& into) {
  const auto* tools = member(body, "tools");
  if (!tools) {
    if (member(body, "tool_choice"))
      return invalid("Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.", "tool_choice");
    return std::nullopt;
  }
  if (!tools->is_array() || tools->get_array().empty())
    return invalid("Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.", "tools",
                   "empty_array");
  for (const auto& tool : tools->get_array()) {
    const auto place = "tools[" + std::to_string(into.view.tools.size()) + "].function";
    const auto* function = tool.is_object() ? member(tool.get_object(), "function") : nullptr;
    if (!function || !function->is_object())
      return invalid("Missing required parameter: '" + place + "'.", place, "missing_required_parameter");
    const auto name = text_member(function->get_object(), "name");
    if (!name)
      return invalid("Missing required parameter: '" + place + ".name'.", place + ".name", "missing_required_parameter");
    if (!is_tool_name(*name))
      return invalid("Invalid '" + place
                         + ".name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
                     place + ".name", "invalid_value");
    const auto* parameters = member(function->get_object(), "parameters");
    if (parameters && !parameters->is_object())
      return invalid("Invalid type for '" + place + ".parameters': expected an object.", place + ".parameters", "invalid_type");
    if (parameters)
      if (const auto type = stated_type(parameters->get_object()); type != "object")
        return invalid("Invalid schema for function '" + std::string(*name)
                           + "': schema must be a JSON Schema of 'type: \"object\"', got 'type: \"" + std::string(type.substr(0, 40))
                           + "\"'.",
                       place + ".parameters", "invalid_function_parameters");
    into.view.tools.push_back(*name);
  }
  return std::nullopt;
}

std::optional<wire_error> read_options(const object& body, wire_request& into) {
  if (const auto* stream = member(body, "stream")) {
    if (!stream->is_bool())
      return invalid("Invalid type for 'stream': expected a boolean.", "stream", "invalid_type");
    into.stream = stream->get_bool();
  }
  if (const auto* options = member(body, "stream_options")) {
    if (!into.stream)
      return invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options");
    const auto* usage = options->is_object() ? member(options->get_object(), "include_usage") : nullptr;
    into.include_usage = usage && usage->is_bool() && usage->get_bool();
  }
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    const auto* limit = member(body, name);
    if (!limit)
      continue;
    if (!limit->is_int64())
      return invalid(std::string("Invalid type for '") + name + "': expected an integer.", name, "invalid_type");
    if (limit->get_int64() < 1)
      return invalid(std::string("Invalid '") + name + "': integer below minimum value. Expected a value >= 1, but got "
                         + std::to_string(limit->get_int64()) + " instead.",
                     name, "integer_below_min_value");
    into.view.max_tokens = limit->get_int64();
  }
  if (const auto* choices = member(body, "n")) {
    if (!choices->is_int64())
      return invalid("Invalid type for 'n': expected an integer.", "n", "invalid_type");
    if (choices->get_int64() < 1)
      return invalid("Invalid 'n': integer below minimum value. Expected a value >= 1, but got " + std::to_string(choices->get_int64())
                         + " instead.",
                     "n", "integer_below_min_value");
    if (choices->get_int64() > 1) // the vendor would take it
      return invalid("This rehearsal answers with one choice: 'n' can be 1 only.", "n", "not_rehearsed");
  }
  if (const auto* temperature = member(body, "temperature")) {
    const double value = temperature->is_double()  ? temperature->get_double()
                         : temperature->is_int64() ? static_cast<double>(temperature->get_int64())
                                                   : -1;
    if (!(value >= 0) || !(value <= 2))
      return invalid("Invalid 'temperature': expected a number from 0 to 2.", "temperature", "decimal_above_max_value");
  }
  return std::nullopt;
}

} // namespace

std::optional<wire_error> read_openai(const object& body, wire_request& into) {
  const auto model = text_member(body, "model");
  if (!model || model->empty())
    return invalid("you must provide a model parameter", "");
  into.view.model = *model;
  const auto* messages = member(body, "messages");
  if (!messages)
    return invalid("Missing required parameter: 'messages'.", "messages", "missing_required_parameter");
  if (!messages->is_array())
    return invalid("Invalid type for 'messages': expected an array of objects.", "messages", "invalid_type");
  if (messages->get_array().empty())
    return invalid("Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.", "messages",
                   "empty_array");
  if (auto problem = read_options(body, into))
    return problem;
  if (auto problem = read_tools(body, into))
    return problem;
  if (auto problem = check_tool_choice(body, into.view.tools))
    return problem;
  history_reader history(into);
  into.view.messages.reserve(messages->get_array().size());
  for (std::size_t i = 0; i < messages->get_array().size(); ++i)
    if (auto problem = history.read(messages->get_array()[i], i))
      return problem;
  if (auto problem = history.all_answered())
    return problem;
  into.view.name_tool_results();
  return std::nullopt;
}

} // namespace troupe::mock_llm
