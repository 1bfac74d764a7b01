#include "mock_llm/wire.hpp"

#include "troupe/util/utf8.hpp"

namespace troupe::mock_llm {

namespace {

std::string_view anthropic_type(int status) {
  switch (status) {
  case 400:
    return "invalid_request_error";
  case 401:
    return "authentication_error";
  case 403:
    return "permission_error";
  case 404:
    return "not_found_error";
  case 413:
    return "request_too_large";
  case 429:
    return "rate_limit_error";
  case 529:
    return "overloaded_error";
  default:
    return status < 500 ? "invalid_request_error" : "api_error";
  }
}

std::string_view openai_type(int status) {
  return status == 429 ? "requests" : status < 500 ? "invalid_request_error" : "server_error";
}

const char* usual_words(vendor to, int status) {
  const bool openai = to == vendor::openai;
  switch (status) {
  case 401:
    return openai ? "Incorrect API key provided." : "invalid x-api-key";
  case 403:
    return openai ? "You are not allowed to use this model." : "Your API key does not have permission to use the specified resource.";
  case 404:
    return openai ? "The model does not exist or you do not have access to it." : "model not found";
  case 429:
    return openai ? "Rate limit reached for requests. Please try again later."
                  : "This request would exceed your organization's rate limit.";
  case 500:
    return openai ? "The server had an error while processing your request. Sorry about that!" : "Internal server error";
  case 503:
    return openai ? "The engine is currently overloaded, please try again later." : "Service unavailable";
  case 529:
    return openai ? "The engine is currently overloaded, please try again later." : "Overloaded";
  default:
    return "The script of this rehearsal answers with this error.";
  }
}

void member(std::string& out, const char* name, std::string_view value) {
  out.append(",\"").append(name).append("\":");
  if (value.empty()) {
    out += "null";
    return;
  }
  out += '"';
  append_escaped(out, value);
  out += '"';
}

} // namespace

wire_error error_of(vendor to, const llm::fault& met) {
  wire_error error;
  error.status = met.kind == llm::fault_kind::status ? met.status : 200;
  // An error under 200 is the vendor's usual trouble: overload.
  const int told = met.kind == llm::fault_kind::status ? met.status : to == vendor::openai ? 500 : 529;
  error.message = met.message.empty() ? usual_words(to, told) : met.message;
  if (to == vendor::openai) {
    error.code = !met.code.empty() ? met.code : told == 429 ? "rate_limit_exceeded" : "";
    error.type = met.code == "insufficient_quota" ? met.code : std::string(openai_type(told));
  } else {
    error.type = met.code.empty() ? std::string(anthropic_type(told)) : met.code;
  }
  return error;
}

std::string error_body(vendor to, const wire_error& error, std::string_view id) {
  std::string out;
  if (to == vendor::openai) {
    out += "{\"error\":{\"message\":\"";
    append_escaped(out, mended_utf8(error.message)); // it may quote a path
    out += '"';
    member(out, "type", error.type.empty() ? openai_type(error.status) : std::string_view(error.type));
    member(out, "param", error.param);
    member(out, "code", error.code);
    return out += "}}";
  }
  out += "{\"type\":\"error\",\"error\":{\"type\":\"";
  append_escaped(out, error.type.empty() ? anthropic_type(error.status) : std::string_view(error.type));
  out += "\",\"message\":\"";
  append_escaped(out, mended_utf8(error.message)); // it may quote a path
  out += "\"},\"request_id\":\"";
  append_escaped(out, id);
  return out += "\"}";
}

} // namespace troupe::mock_llm
