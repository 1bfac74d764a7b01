#pragma once
// JSON-RPC 2.0 as MCP uses it: messages in, messages out. Pure; what comes in is hostile.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "troupe/model/error.hpp"

namespace troupe::tools {

using json = nlohmann::json;

/// The most that one message may be, and how deep.
constexpr std::size_t mcp_message_bytes_max = std::size_t{16} << 20;
constexpr std::size_t mcp_message_depth_max = 128;

struct mcp_message {
  enum class kind { request, notification, result, error };
  kind what = kind::notification;
  json id;            ///< of requests and answers: a string or an integer; null in an error that answers nothing readable
  std::string method; ///< of requests and notifications
  json params;        ///< an object; null: none
  json result;        ///< an object
  std::int64_t code = 0;
  std::string text; ///< an error's words
  json data;        ///< an error's, or null
};

/// One text: a message, or a batch of them (2025-03-26). `invalid_argument` says what is wrong with it; then nothing of it is taken.
expected<std::vector<mcp_message>> parse_mcp_messages(std::string_view text);

json mcp_request(std::int64_t id, std::string_view method, json params);
json mcp_notification(std::string_view method, json params);
json mcp_result(const json& id, json result);
json mcp_error(const json& id, std::int64_t code, std::string_view text);

/// The text at a key of an object; empty where there is none.
std::string string_at(const json& from, const char* key);

/// A message as it goes over the wire: one line.
std::string mcp_text(const json& message);

} // namespace troupe::tools
