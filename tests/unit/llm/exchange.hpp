#pragma once
// Plays recorded responses (tests/data/llm) to a real provider over a real socket.

#include <fstream>
#include <future>
#include <sstream>
#include <stdexcept>

#include "llm/test_server.hpp"
#include "troupe/llm/provider.hpp"

namespace troupe::test {

inline std::string data_file(const std::string& name) {
  std::ifstream in(std::string(TROUPE_SOURCE_DIR) + "/tests/data/llm/" + name, std::ios::binary);
  if (!in)
    throw std::runtime_error("no file tests/data/llm/" + name);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// The bytes of a recorded response. A chunked body is cut into chunks of `chunk` bytes; `cut` leaves its last chunk out.
inline std::string recorded(const std::string& name, std::size_t chunk = 1000, bool cut = false) {
  const auto text = data_file(name);
  const auto split = text.find("\n\n");
  auto body = text.substr(split + 2);
  std::string head;
  for (std::size_t at = 0; at <= split;) {
    const auto end = text.find('\n', at);
    head += text.substr(at, end - at) + "\r\n";
    at = end + 1;
  }
  if (head.find("Transfer-Encoding: chunked") == std::string::npos)
    return head + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  std::ostringstream out;
  out << head << "\r\n" << std::hex;
  for (std::size_t at = 0; at < body.size(); at += chunk) {
    const auto piece = body.substr(at, chunk);
    out << piece.size() << "\r\n" << piece << "\r\n";
  }
  if (!cut)
    out << "0\r\n\r\n";
  return out.str();
}

inline std::future<llm_outcome> start(llm::provider& with, llm_request request, llm::transfer_id* id = nullptr) {
  auto promise = std::make_shared<std::promise<llm_outcome>>();
  auto future = promise->get_future();
  const auto given = with.start(std::move(request), [promise](llm_outcome outcome) { promise->set_value(std::move(outcome)); });
  if (id)
    *id = given;
  return future;
}

inline message_ptr say(role from, std::string text, std::vector<tool_call> calls = {}, std::string call_id = {}, bool is_error = false) {
  return std::make_shared<const chat_message>(chat_message{from, std::move(text), std::move(calls), std::move(call_id), is_error});
}

inline llm_request simple_request(std::string text = "hello") {
  llm_request request;
  request.model = "m";
  request.messages = {say(role::user, std::move(text))};
  request.timeout = std::chrono::seconds(60);
  return request;
}

} // namespace troupe::test
