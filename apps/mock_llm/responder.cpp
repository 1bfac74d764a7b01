#include "mock_llm/responder.hpp"

#include <boost/beast/http/status.hpp>
#include <boost/beast/http/verb.hpp>

namespace troupe::mock_llm {

namespace {

std::string_view reason_of(int status) {
  const auto words = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
  return {words.data(), words.size()};
}

void append_status(std::string& out, int status) {
  out += "HTTP/1.1 ";
  append_number(out, status);
  out.append(" ").append(reason_of(status)).append("\r\n");
}

void append_connection(std::string& out, bool keep_alive) {
  out += keep_alive ? "connection: keep-alive\r\n" : "connection: close\r\n";
}

std::string_view path_of(const http_request& request) {
  const std::string_view target = request.target;
  return target.substr(0, target.find('?'));
}

} // namespace

/// One request to a model, while it is answered.
struct responder::call {
  vendor from;
  const http_request& request;
  std::uint64_t content; ///< a hash of path and body
  wire_request wire;
  std::string_view agent; ///< for /stats
  std::vector<std::pair<std::string, std::string>> const* headers = nullptr;
};

json shared_state::stats() const {
  json total = {{"requests", 0},
                {"by_status", json::object()},
                {"by_agent", json::object()},
                {"max_in_flight", in_flight.most()},
                {"tokens", {{"input", 0}, {"output", 0}}}};
  for (const auto& shard : shards)
    shard->add_to(total);
  return total;
}

void responder::refuse(int status, std::string_view words, answer& into) {
  into.how = answer::kind::send;
  into.is_last = true;
  into.delay = {};
  body_ = error_body(vendor::openai, {status, std::string(words), "", "", ""}, "");
  into.bytes.clear();
  append_status(into.bytes, status);
  into.bytes += "content-type: application/json\r\nconnection: close\r\ncontent-length: ";
  append_number(into.bytes, static_cast<std::int64_t>(body_.size()));
  into.bytes.append("\r\n\r\n").append(body_);
}

void responder::respond_plain(const http_request& request, int status, std::string_view body, answer& into,
                              std::string_view extra_headers) {
  append_status(into.bytes, status);
  into.bytes += "content-type: application/json\r\n";
  append_connection(into.bytes, !into.is_last);
  into.bytes.append(extra_headers).append("content-length: ");
  append_number(into.bytes, static_cast<std::int64_t>(body.size()));
  into.bytes += "\r\n\r\n";
  if (request.method != http::verb::head)
    into.bytes += body;
}

void responder::respond(const http_request& request, answer& into) {
  into.how = answer::kind::send;
  into.is_last = !request.keep_alive() || request.too_large;
  into.delay = {};
  into.bytes.clear();
  const auto path = path_of(request);
  const bool is_chat = path == "/v1/chat/completions" || path == "/chat/completions";
  const bool is_messages = path == "/v1/messages" || path == "/messages";
  const auto from = is_messages ? vendor::anthropic : vendor::openai;
  const auto refuse_method = [&](const char* allowed) {
    respond_plain(request, 405,
                  error_body(from, {405, "Not allowed here; allowed is " + std::string(allowed) + ".", "", "", "method_not_supported"}, ""),
                  into, "allow: " + std::string(allowed) + "\r\n");
  };
  if (is_chat || is_messages) {
    if (request.method != http::verb::post)
      return refuse_method("POST");
    return respond_model(from, request, into);
  }
  const bool is_get = request.method == http::verb::get || request.method == http::verb::head;
  if (path == "/v1/models" || path == "/models")
    return is_get ? list_models(request, into) : refuse_method("GET");
  if (path == "/stats")
    return is_get ? respond_plain(request, 200, shared_.stats().dump(-1, ' ', false, json::error_handler_t::replace), into)
                  : refuse_method("GET");
  if (path == "/healthz")
    return is_get ? respond_plain(request, 200, "{\"status\":\"ok\"}", into) : refuse_method("GET");
  respond_plain(request, 404,
                error_body(vendor::openai,
                           {404,
                            "Invalid URL (" + std::string(http::to_string(request.method)) + " " + std::string(path.substr(0, 200))
                                + "). Known are: POST /v1/chat/completions, POST /v1/messages, GET /v1/models, GET /stats, GET /healthz",
                            "", "", ""},
                           ""),
                into);
}

void responder::respond_model(vendor from, const http_request& request, answer& into) {
  call now{from, request, llm::stable_hash(request.body, from == vendor::openai ? 1 : 2), {}, {}, nullptr};
  if (request.too_large) {
    now.agent = "unknown";
    return answer_error(
        now,
        {413, "The request is larger than " + std::to_string(shared_.chosen.max_body_bytes) + " bytes, which is the most that is accepted.",
         "", "", ""},
        "", into);
  }
  auto refusal = read_body(from, request.body, memory_, now.wire);
  auto& view = now.wire.view;
  view.agent = request.agent;
  now.agent = !view.agent.empty() ? view.agent : view.first_line();
  if (now.agent.empty())
    now.agent = "unknown";
  if (!refusal && from == vendor::anthropic && !request.has_version)
    refusal = wire_error{400, "anthropic-version: header is required", "", "", ""};
  if (refusal)
    return answer_error(now, *refusal, "", into);
  const auto& script = *shared_.chosen.script;
  const auto found = script.match(view);
  into.delay = shared_.chosen.latency + (found ? script.latency(found->rule) : std::chrono::milliseconds(0));
  if (found && !script.headers(found->rule).empty())
    now.headers = &script.headers(found->rule);
  bool cut = false;
  bool drip = false;
  auto met = shared_.faults.next(now.content);
  if (!met && found)
    met = script.take_fault(*found, false);
  if (met && met->kind == llm::fault_kind::truncate)
    cut = true;
  else if (met && met->kind == llm::fault_kind::slow)
    drip = true;
  else if (met && misbehave(*met, now, into))
    return;
  if (!found)
    return answer_error(now, {400, llm::describe_unmatched(view), "invalid_request_error", "", "no_rule"}, "", into);
  auto reply = script.render(*found, view);
  if (!reply)
    return answer_error(now, {400, reply.error().text(), "invalid_request_error", "", "script_reply"}, "", into);
  answer_reply(now, *reply, cut, into);
  if (drip)
    into.how = answer::kind::drip;
}

bool responder::misbehave(const llm::fault& met, const call& now, answer& into) {
  switch (met.kind) {
  case llm::fault_kind::status:
  case llm::fault_kind::error200:
    answer_error(now, error_of(now.from, met), met.retry_after, into);
    return true;
  case llm::fault_kind::timeout:
    into.how = answer::kind::hold;
    stats_.count(now.agent, 0, "timeout", {});
    return true;
  case llm::fault_kind::reset:
    into.how = answer::kind::reset;
    stats_.count(now.agent, 0, "reset", {});
    return true;
  case llm::fault_kind::malformed:
    if (now.wire.stream) {
      body_.clear();
      body_writer events{body_, !now.request.is_http_1_0};
      write_broken_stream(now.from, events);
      events.end();
      append_status(into.bytes, 200);
      into.bytes += "content-type: text/event-stream\r\n";
      append_connection(into.bytes, now.request.keep_alive());
      into.bytes.append(events.chunked ? "transfer-encoding: chunked\r\n\r\n"
                                       : "content-length: " + std::to_string(body_.size()) + "\r\n\r\n");
      into.bytes += body_;
    } else {
      respond_plain(now.request, 200, "{\"id\":\"broken\",\"choices\":[{\"index\":0,\"mess", into);
    }
    stats_.count(now.agent, 200, nullptr, {});
    return true;
  case llm::fault_kind::empty: {
    llm::scripted_reply nothing;
    nothing.usage.emplace();
    answer_reply(now, nothing, false, into);
    return true;
  }
  default:
    return false;
  }
}

void responder::answer_reply(const call& now, const llm::scripted_reply& reply, bool cut, answer& into) {
  const reply_frame frame{now.wire.view.model, now.content, now.wire.include_usage};
  body_.clear();
  const bool chunked = now.wire.stream && !now.request.is_http_1_0;
  body_writer events{body_, chunked};
  if (now.wire.stream) {
    write_stream(now.from, reply, frame, events);
    events.end();
  } else {
    write_whole(now.from, reply, frame, body_);
  }
  auto& out = into.bytes;
  append_status(out, 200);
  out += now.wire.stream ? "content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
                         : "content-type: application/json\r\n";
  append_connection(out, now.request.keep_alive());
  out += now.from == vendor::openai ? "x-request-id: req_" : "request-id: req_";
  append_hex(out, now.content);
  out += "\r\n";
  if (now.headers)
    for (const auto& [name, value] : *now.headers)
      out.append(name).append(": ").append(value).append("\r\n");
  if (chunked) {
    out += "transfer-encoding: chunked\r\n\r\n";
  } else {
    out += "content-length: ";
    append_number(out, static_cast<std::int64_t>(body_.size()));
    out += "\r\n\r\n";
  }
  out.append(body_, 0, cut ? body_.size() / 2 : body_.size());
  if (cut)
    into.is_last = true;
  stats_.count(now.agent, 200, nullptr, reply.usage.value_or(token_usage{}));
}

void responder::answer_error(const call& now, const wire_error& error, std::string_view retry_after, answer& into) {
  std::string id = "req_";
  append_hex(id, now.content);
  stats_.count(now.agent, error.status, nullptr, {});
  if (error.status == 200 && now.wire.stream) {
    body_.clear();
    body_writer events{body_, false};
    write_error_stream(now.from, error, events);
    append_status(into.bytes, 200);
    into.bytes += "content-type: text/event-stream\r\n";
    append_connection(into.bytes, now.request.keep_alive());
    into.bytes.append("content-length: ").append(std::to_string(body_.size())).append("\r\n\r\n").append(body_);
    return;
  }
  body_ = error_body(now.from, error, id);
  append_status(into.bytes, error.status);
  into.bytes += "content-type: application/json\r\n";
  append_connection(into.bytes, !into.is_last);
  into.bytes.append(now.from == vendor::openai ? "x-request-id: " : "request-id: ").append(id).append("\r\n");
  if (!retry_after.empty())
    into.bytes.append("retry-after: ").append(retry_after).append("\r\n");
  if (now.headers)
    for (const auto& [name, value] : *now.headers)
      into.bytes.append(name).append(": ").append(value).append("\r\n");
  into.bytes.append("content-length: ").append(std::to_string(body_.size())).append("\r\n\r\n").append(body_);
}

void responder::list_models(const http_request& request, answer& into) {
  auto names = shared_.chosen.script->models();
  if (names.empty())
    names.emplace_back("mock");
  const bool openai = !request.has_version;
  json list = json::array();
  for (const auto& name : names)
    list.push_back(openai ? json{{"id", name}, {"object", "model"}, {"created", 1'700'000'000}, {"owned_by", "troupe"}}
                          : json{{"type", "model"}, {"id", name}, {"display_name", name}, {"created_at", "2023-11-14T22:13:20Z"}});
  json document = {{"data", std::move(list)}};
  if (openai) {
    document["object"] = "list";
  } else {
    document["has_more"] = false;
    document["first_id"] = names.front();
    document["last_id"] = names.back();
  }
  respond_plain(request, 200, document.dump(-1, ' ', false, json::error_handler_t::replace), into);
}

} // namespace troupe::mock_llm
