// Messages, as Anthropic checks them.
#include <algorithm>
#include <unordered_set>

#include "mock_llm/wire_json.hpp"

namespace troupe::mock_llm {

namespace {

using boost::json::object;

wire_error invalid(std::string message) {
  return {400, std::move(message), "invalid_request_error", "", ""};
}

std::string at(std::size_t message) {
  return "messages." + std::to_string(message);
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

/// Ids of calls have the letters of tools' names.
bool is_id(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

class history_reader {
public:
  history_reader(wire_request& into, bool has_tools) : view_(into.view), has_tools_(has_tools) {}

  std::optional<wire_error> read(const boost::json::value& value, std::size_t index, bool is_last) {
    const auto* message = value.if_object();
    const auto from = message ? text_member(*message, "role") : std::nullopt;
    if (!from)
      return invalid(at(index) + ".role: Field required");
    if (*from == "system")
      return invalid("messages: Unexpected role \"system\". The Messages API accepts a top-level `system` parameter, not \"system\" as an "
                     "input message role.");
    if (*from != "user" && *from != "assistant")
      return invalid(at(index) + ".role: Input should be 'user' or 'assistant'");
    const bool is_user = *from == "user";
    if (index == 0 && !is_user)
      return invalid("messages: first message must use the \"user\" role");
    if (index > 0 && is_user == was_user_)
      return invalid("messages: roles must alternate between \"user\" and \"assistant\", but found multiple \"" + std::string(*from)
                     + "\" roles in a row");
    was_user_ = is_user;
    const auto* content = member(*message, "content");
    if (!content)
      return invalid(at(index) + ".content: Field required");
    auto problem = is_user ? read_user(*content, index) : read_assistant(*content, index, is_last);
    return problem;
  }

  std::optional<wire_error> all_answered(std::size_t next) {
    if (waiting_.empty())
      return std::nullopt;
    std::string ids;
    for (const auto id : waiting_)
      ids.append(ids.empty() ? "" : ", ").append(id.substr(0, 100));
    return invalid(at(next - 1) + ": `tool_use` ids were found without `tool_result` blocks immediately after: " + ids
                   + ". Each `tool_use` block must have a corresponding `tool_result` block in the next message.");
  }

private:
  /// Adds a text to what a message says already.
  void add_text(std::string_view& text, std::string*& joined, std::string_view more) {
    if (text.empty()) {
      text = more;
      return;
    }
    if (!joined)
      joined = &view_.kept.emplace_back(text);
    joined->append("\n").append(more);
    text = *joined;
  }

  std::optional<wire_error> read_text(const object& block, const std::string& place, std::string_view& text, std::string*& joined) {
    const auto said = text_member(block, "text");
    if (!said)
      return invalid(place + ".text.text: Field required");
    if (said->empty())
      return invalid("messages: text content blocks must be non-empty");
    if (is_blank(*said))
      return invalid("messages: text content blocks must contain non-whitespace text");
    add_text(text, joined, *said);
    return std::nullopt;
  }

  std::optional<wire_error> read_user(const boost::json::value& content, std::size_t index) {
    std::string_view text;
    std::string* joined = nullptr;
    const auto* blocks = content.if_array();
    if (content.is_string())
      text = view_of(content.get_string());
    else if (!blocks)
      return invalid(at(index) + ".content: Input should be a valid string or list");
    if (content.is_string() ? text.empty() : blocks->empty())
      return invalid(at(index) + ": user messages must have non-empty content");
    if (content.is_string() && is_blank(text))
      return invalid("messages: text content blocks must contain non-whitespace text");
    bool other = false;
    for (std::size_t i = 0; blocks && i < blocks->size(); ++i) {
      const auto place = at(index) + ".content." + std::to_string(i);
      const auto* block = (*blocks)[i].if_object();
      const auto type = block ? text_member(*block, "type") : std::nullopt;
      if (!type)
        return invalid(place + ".type: Field required");
      std::optional<wire_error> problem;
      if (*type == "tool_result") {
        // Results that come after something else are not seen as results (the vendor's rule), so they are missing.
        if (other)
          return all_answered(index);
        problem = read_result(*block, place);
      } else if (*type == "text") {
        other = true;
        problem = read_text(*block, place, text, joined);
      } else {
        other = true; // images and documents: no rule looks at them
      }
      if (problem)
        return problem;
    }
    if (auto problem = all_answered(index))
      return problem;
    if (!text.empty() || other) {
      auto& added = view_.messages.emplace_back();
      added.from = role::user;
      added.text = text;
    }
    return std::nullopt;
  }

  std::optional<wire_error> read_result(const object& block, const std::string& place) {
    const auto id = text_member(block, "tool_use_id");
    if (!id)
      return invalid(place + ".tool_result.tool_use_id: Field required");
    if (!is_id(*id))
      return invalid(place + ".tool_result.tool_use_id: String should match pattern '^[a-zA-Z0-9_-]+$'");
    const auto asked = std::find(waiting_.begin(), waiting_.end(), *id);
    if (asked == waiting_.end())
      return invalid(place + ": unexpected `tool_use_id` found in `tool_result` blocks: " + std::string(id->substr(0, 100))
                     + ". Each `tool_result` block must have a corresponding `tool_use` block in the previous message.");
    waiting_.erase(asked);
    auto& added = view_.messages.emplace_back();
    added.from = role::tool;
    added.call_id = *id;
    const auto* content = member(block, "content");
    if (!content)
      return std::nullopt;
    if (content->is_string()) {
      added.text = view_of(content->get_string());
      return std::nullopt;
    }
    const auto* parts = content->if_array();
    if (!parts)
      return invalid(place + ".tool_result.content: Input should be a valid string or list");
    std::string* joined = nullptr;
    for (const auto& part : *parts)
      if (const auto said = part.is_object() ? text_member(part.get_object(), "text") : std::nullopt)
        add_text(added.text, joined, *said);
    return std::nullopt;
  }

  std::optional<wire_error> read_assistant(const boost::json::value& content, std::size_t index, bool is_last) {
    auto& added = view_.messages.emplace_back();
    added.from = role::assistant;
    const auto* blocks = content.if_array();
    if (content.is_string())
      added.text = view_of(content.get_string());
    else if (!blocks)
      return invalid(at(index) + ".content: Input should be a valid string or list");
    if (!is_last && (content.is_string() ? added.text.empty() : blocks->empty()))
      return invalid(at(index) + ": all messages must have non-empty content except for the optional final assistant message");
    std::string* joined = nullptr;
    for (std::size_t i = 0; blocks && i < blocks->size(); ++i) {
      const auto place = at(index) + ".content." + std::to_string(i);
      const auto* block = (*blocks)[i].if_object();
      const auto type = block ? text_member(*block, "type") : std::nullopt;
      if (!type)
        return invalid(place + ".type: Field required");
      std::optional<wire_error> problem;
      if (*type == "tool_use")
        problem = read_call(*block, place, added);
      else if (*type == "text")
        problem = read_text(*block, place, added.text, joined);
      if (problem)
        return problem;
    }
    if (is_last && !waiting_.empty())
      return all_answered(index + 1);
    if (is_last && !added.text.empty() && std::string_view(" \t\r\n").find(added.text.back()) != std::string_view::npos)
      return invalid("messages: final assistant content cannot end with trailing whitespace");
    return std::nullopt;
  }

  std::optional<wire_error> read_call(const object& block, const std::string& place, llm::view_message& added) {
    const auto id = text_member(block, "id");
    const auto name = text_member(block, "name");
    const auto* input = member(block, "input");
    if (!id || !name)
      return invalid(place + ".tool_use." + (id ? "name" : "id") + ": Field required");
    if (!is_id(*id))
      return invalid(place + ".tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'");
    if (!input)
      return invalid(place + ".tool_use.input: Field required");
    if (!input->is_object())
      return invalid(place + ".tool_use.input: Input should be a valid dictionary");
    if (!has_tools_)
      return invalid("Requests which include `tool_use` or `tool_result` blocks must define tools");
    if (!ids_.insert(*id).second)
      return invalid(place + ": `tool_use` ids must be unique");
    if (waiting_.size() == 128)
      return invalid(place + ": at most 128 `tool_use` blocks are accepted in a message");
    waiting_.push_back(*id);
    const auto text = boost::json::serialize(*input);
    added.calls.push_back({*id, *name, view_.kept.emplace_back(text.data(), text.size())});
    return std::nullopt;
  }

  llm::request_view& view_;
  bool has_tools_;
  bool was_user_ = false;
  std::vector<std::string_view> waiting_; ///< at most 128
  std::unordered_set<std::string_view> ids_;
};

std::optional<wire_error> read_system(const object& body, wire_request& into) {
  const auto* system = member(body, "system");
  if (!system)
    return std::nullopt;
  if (system->is_string()) {
    into.view.system = view_of(system->get_string());
    return std::nullopt;
  }
  if (!system->is_array())
    return invalid("system: Input should be a valid string or list");
  auto& joined = into.view.kept.emplace_back();
  for (const auto& block : system->get_array()) {
    const auto text = block.is_object() ? text_member(block.get_object(), "text") : std::nullopt;
    if (!text)
      return invalid("system.0.text: Field required");
    joined.append(joined.empty() ? "" : "\n\n").append(*text);
  }
  into.view.system = joined;
  return std::nullopt;
}

bool is_tool_name(std::string_view name) {
  return name.size() <= 128 && is_id(name);
}

/// After the tools, among which it chooses.
std::optional<wire_error> check_tool_choice(const object& body, const std::vector<std::string_view>& tools) {
  const auto* choice = member(body, "tool_choice");
  if (!choice)
    return std::nullopt;
  if (tools.empty())
    return invalid("tool_choice: tool_choice may only be specified while providing tools.");
  const auto type = choice->is_object() ? text_member(choice->get_object(), "type") : std::nullopt;
  if (!type)
    return invalid("tool_choice: Input should be a valid dictionary with a type");
  if (*type == "auto" || *type == "any" || *type == "none")
    return std::nullopt;
  if (*type != "tool")
    return invalid("tool_choice: Input tag '" + std::string(type->substr(0, 40))
                   + "' found using 'type' does not match any of the expected tags: 'auto', 'any', 'none', 'tool'");
  const auto name = text_member(choice->get_object(), "name");
  if (!name)
    return invalid("tool_choice.tool.name: Field required");
  if (std::find(tools.begin(), tools.end(), *name) == tools.end())
    return invalid("Tool '" + std::string(name->substr(0, 128)) + "' not found in provided tools");
  return std::nullopt;
}

std::optional<wire_error> read_tools(const object& body, wire_request& into) {
  const auto* tools = member(body, "tools");
  if (!tools)
    return std::nullopt;
  if (!tools->is_array())
    return invalid("tools: Input should be a valid list");
  for (const auto& tool : tools->get_array()) {
    const auto place = "tools." + std::to_string(into.view.tools.size());
    const auto name = tool.is_object() ? text_member(tool.get_object(), "name") : std::nullopt;
    if (!name)
      return invalid(place + ".custom.name: Field required");
    if (!is_tool_name(*name))
      return invalid(place + ".custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'");
    const auto* schema = member(tool.get_object(), "input_schema");
    const auto type = text_member(tool.get_object(), "type");
    if (!schema && (!type || *type == "custom"))
      return invalid(place + ".custom.input_schema: Field required");
    if (schema && (!schema->is_object() || text_member(schema->get_object(), "type") != std::optional<std::string_view>("object")))
      return invalid(place + ".custom.input_schema.type: Input should be 'object'");
    if (std::find(into.view.tools.begin(), into.view.tools.end(), *name) != into.view.tools.end())
      return invalid("tools: Tool names must be unique.");
    if (into.view.tools.size() == 1'000)
      return invalid("tools: at most 1,000 tools are accepted");
    into.view.tools.push_back(*name);
  }
  return std::nullopt;
}

} // namespace

std::optional<wire_error> read_anthropic(const object& body, wire_request& into) {
  const auto model = text_member(body, "model");
  if (!model || model->empty())
    return invalid("model: Field required");
  into.view.model = *model;
  const auto* limit = member(body, "max_tokens");
  if (!limit)
    return invalid("max_tokens: Field required");
  if (!limit->is_int64())
    return invalid("max_tokens: Input should be a valid integer");
  if (limit->get_int64() < 1)
    return invalid("max_tokens: must be greater than or equal to 1");
  into.view.max_tokens = limit->get_int64();
  const auto* messages = member(body, "messages");
  if (!messages)
    return invalid("messages: Field required");
  if (!messages->is_array())
    return invalid("messages: Input should be a valid list");
  if (messages->get_array().empty())
    return invalid("messages: at least one message is required");
  if (const auto* stream = member(body, "stream")) {
    if (!stream->is_bool())
      return invalid("stream: Input should be a valid boolean");
    into.stream = stream->get_bool();
  }
  if (const auto* temperature = member(body, "temperature")) {
    const double value = temperature->is_double()  ? temperature->get_double()
                         : temperature->is_int64() ? static_cast<double>(temperature->get_int64())
                                                   : -1;
    if (!(value >= 0) || !(value <= 1))
      return invalid("temperature: range: 0..1");
  }
  if (auto problem = read_system(body, into))
    return problem;
  if (auto problem = read_tools(body, into))
    return problem;
  if (auto problem = check_tool_choice(body, into.view.tools))
    return problem;
  history_reader history(into, !into.view.tools.empty());
  const auto& list = messages->get_array();
  into.view.messages.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i)
    if (auto problem = history.read(list[i], i, i + 1 == list.size()))
      return problem;
  into.view.name_tool_results();
  return std::nullopt;
}

} // namespace troupe::mock_llm
