#include "troupe/tools/mcp_message.hpp"

#include <utility>

#include "troupe/util/parse_json.hpp"
#include "troupe/util/redact.hpp"

namespace troupe::tools {

namespace {

tl::unexpected<error> wrong(std::string words) {
  return fail(error_code::invalid_argument, std::move(words));
}

bool is_id(const json& id) {
  return id.is_string() || id.is_number_integer();
}

json taken(json& from, const char* key) {
  const auto found = from.find(key);
  return found == from.end() ? json() : std::move(*found);
}

expected<mcp_message> read_error(json& document, mcp_message message) {
  auto failure = taken(document, "error");
  if (!message.id.is_null() && !is_id(message.id))
    return wrong("an error's id is neither a string nor an integer");
  const auto code = failure.is_object() ? failure.find("code") : failure.end();
  const auto words = failure.is_object() ? failure.find("message") : failure.end();
  if (!failure.is_object() || code == failure.end() || !code->is_number_integer())
    return wrong("an error without an integer code");
  message.what = mcp_message::kind::error;
  message.code = code->get<std::int64_t>();
  if (words != failure.end() && words->is_string())
    message.text = words->get<std::string>();
  message.data = taken(failure, "data");
  return message;
}

expected<mcp_message> read_message(json& document) {
  if (!document.is_object())
    return wrong(std::string("a message is an object, and this is ") + document.type_name());
  const auto version = document.find("jsonrpc");
  if (version == document.end() || *version != "2.0")
    return wrong("it does not say \"jsonrpc\": \"2.0\"");
  mcp_message message;
  const bool has_id = document.contains("id");
  message.id = taken(document, "id");
  if (const auto method = document.find("method"); method != document.end()) {
    if (!method->is_string())
      return wrong("its method is no string");
    if (has_id && !is_id(message.id))
      return wrong("a request's id is neither a string nor an integer");
    message.what = has_id ? mcp_message::kind::request : mcp_message::kind::notification;
    message.method = method->get<std::string>();
    message.params = taken(document, "params");
    if (!message.params.is_null() && !message.params.is_object())
      return wrong("the params of \"" + std::string(safe_prefix(message.method, 60)) + "\" are no object");
    return message;
  }
  if (document.contains("error"))
    return read_error(document, std::move(message));
  const auto result = document.find("result");
  if (result == document.end())
    return wrong("it has neither method, result nor error");
  if (!is_id(message.id))
    return wrong("a result without the id of its request");
  if (!result->is_object())
    return wrong("its result is no object");
  message.what = mcp_message::kind::result;
  message.result = std::move(*result);
  return message;
}

} // namespace

expected<std::vector<mcp_message>> parse_mcp_messages(std::string_view text) {
  if (text.size() > mcp_message_bytes_max)
    return wrong("a message of " + std::to_string(text.size()) + " bytes; at most " + std::to_string(mcp_message_bytes_max) + " are taken");
  auto document = parse_bounded(text, mcp_message_depth_max);
  if (!document)
    return wrong(document.error().message);
  std::vector<mcp_message> out;
  const bool batch = document->is_array();
  if (batch && document->empty())
    return wrong("an empty batch");
  for (std::size_t i = 0; i < (batch ? document->size() : 1); ++i) {
    auto message = read_message(batch ? (*document)[i] : *document);
    if (!message)
      return tl::unexpected(message.error());
    out.push_back(std::move(*message));
  }
  return out;
}

json mcp_request(std::int64_t id, std::string_view method, json params) {
  json out{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}};
  if (!params.is_null())
    out["params"] = std::move(params);
  return out;
}

json mcp_notification(std::string_view method, json params) {
  json out{{"jsonrpc", "2.0"}, {"method", method}};
  if (!params.is_null())
    out["params"] = std::move(params);
  return out;
}

json mcp_result(const json& id, json result) {
  return {{"jsonrpc", "2.0"}, {"id", id}, {"result", std::move(result)}};
}

json mcp_error(const json& id, std::int64_t code, std::string_view text) {
  return {{"jsonrpc", "2.0"}, {"id", id}, {"error", {{"code", code}, {"message", text}}}};
}

std::string mcp_text(const json& message) {
  return message.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string string_at(const json& from, const char* key) {
  const auto found = from.is_object() ? from.find(key) : from.end();
  return from.is_object() && found != from.end() && found->is_string() ? found->get<std::string>() : std::string();
}

} // namespace troupe::tools
