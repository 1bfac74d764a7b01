// MCP over streamable HTTP: a POST a message, answered by JSON or by a stream of events.

#include <algorithm>
#include <atomic>
#include <map>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <spdlog/spdlog.h>

#include "troupe/llm/http_client.hpp"
#include "troupe/llm/sse_parser.hpp"
#include "troupe/tools/io_loop.hpp"
#include "troupe/tools/mcp_transport.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/suggest.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::tools {

namespace {

using llm::http_error;
using llm::http_request;
using llm::http_result;

constexpr milliseconds request_max = std::chrono::hours(1); ///< the session ends requests earlier
constexpr milliseconds stream_max = std::chrono::hours(24);
constexpr milliseconds resume_pause{1'000};
constexpr milliseconds resume_pause_max{60'000};
constexpr int resumes_max = 100;
constexpr std::size_t error_body_max = 64u << 10;

std::string lower(std::string text) {
  for (auto& c : text)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

bool is_stream(const http_result& head) {
  const auto* type = head.headers.find("content-type");
  return type != nullptr && lower(*type).rfind("text/event-stream", 0) == 0;
}

/// One HTTP exchange, as the client's thread sees it; read by the loop only when it is over.
struct exchange {
  std::int64_t id = 0; ///< of the request that it answers; 0: none is answered
  bool stays_open = false;
  bool has_answer = false; ///< seen on the stream (client's thread)
  std::string body;
  llm::sse_parser events{{mcp_message_bytes_max, mcp_message_bytes_max}};
  std::string wrong; ///< what came is no message
  bool session_told = false;
};

/// A request that is under way, as the loop sees it.
struct under_way {
  llm::http_id transfer = 0;
  mcp_send what;
  std::string token; ///< that it was sent with
  bool renewed = false;
  int resumes = 0;
  std::string last_event;
};

class http_transport : public mcp_transport, public std::enable_shared_from_this<http_transport> {
public:
  http_transport(const tool_spec& spec, environment& shared, std::shared_ptr<mcp_authorizer> authorizer, std::string token,
                 mcp_transport_events events)
      : spec_(spec), loop_(shared.loop), http_(*shared.http), authorizer_(std::move(authorizer)), fixed_token_(std::move(token)),
        events_(std::move(events)) {}

  void send(mcp_send what) override {
    if (closing_)
      return;
    const auto id = what.id;
    under_way request;
    request.what = std::move(what);
    if (id == 0) {
      post(0, std::move(request));
      return;
    }
    auto& kept = requests_[id] = std::move(request);
    post(id, kept);
  }

  void drop(std::int64_t id) override {
    if (const auto node = requests_.extract(id); !node.empty())
      http_.cancel(node.mapped().transfer);
  }

  void follow() override {
    under_way stream;
    stream.what.stays_open = true;
    stream.what.headers = legacy_headers();
    requests_[following] = std::move(stream);
    get(following);
  }

  void close(bool gently, std::function<void()> ended) override {
    closing_ = true;
    for (auto& [id, request] : std::exchange(requests_, {}))
      http_.cancel(request.transfer);
    if (gently && !session_.empty()) { // the server may forget it now; nobody waits for that
      http_request request;
      request.method = "DELETE";
      request.url = spec_.url;
      request.headers = headers(legacy_headers(), token());
      request.timeout = milliseconds{2'000};
      request.on_done = [](const http_result&) {};
      http_.submit(std::move(request));
    }
    ended();
  }

private:
  static constexpr std::int64_t following = -1; ///< the stream for what the server says by itself

  std::string token() const { return authorizer_ ? authorizer_->token() : fixed_token_; }

  header_list legacy_headers() const { return version_.empty() ? header_list{} : header_list{{"MCP-Protocol-Version", version_}}; }

  header_list headers(const header_list& own, const std::string& token) const {
    header_list out(own);
    for (const auto& [name, value] : spec_.headers)
      out.emplace_back(name, value);
    if (!token.empty())
      out.emplace_back("Authorization", "Bearer " + token);
    if (!session_.empty())
      out.emplace_back("Mcp-Session-Id", session_);
    return out;
  }

  http_request prepare(std::int64_t id, const under_way& request) {
    http_request out;
    out.url = spec_.url;
    out.headers = headers(request.what.headers, request.token);
    out.timeout = request.what.stays_open ? stream_max : request_max;
    out.max_response_bytes = request.what.stays_open ? std::size_t{1} << 30 : 2 * mcp_message_bytes_max;
    const auto seen = std::make_shared<exchange>();
    seen->id = id;
    seen->stays_open = request.what.stays_open;
    out.on_data = [seen, weak = weak_from_this()](const http_result& head, std::string_view piece) {
      tell_session(weak, *seen, head); // before the message that makes us send the next request
      if (!is_stream(head)) {
        seen->body.append(piece.substr(0, mcp_message_bytes_max + 1 - std::min(seen->body.size(), mcp_message_bytes_max + 1)));
        return true;
      }
      return seen->events.feed(piece, [&](const llm::sse_event& event) {
        if (!event.data.empty())
          hand_over(weak, *seen, event.data);
        return seen->wrong.empty() && (!seen->has_answer || seen->stays_open);
      });
    };
    out.on_done = [seen, id, weak = weak_from_this(), loop = &loop_](http_result result) {
      loop->post([seen, id, weak, result = std::make_shared<http_result>(std::move(result))] {
        if (const auto self = weak.lock(); self && !self->closing_)
          self->done(id, *seen, *result);
      });
    };
    return out;
  }

  /// From the client's thread: the session that the server opened with this answer.
  static void tell_session(const std::weak_ptr<http_transport>& weak, exchange& seen, const http_result& head) {
    const auto* session = head.headers.find("mcp-session-id");
    if (std::exchange(seen.session_told, true) || session == nullptr || seen.id <= 0 || head.status >= 300)
      return;
    if (const auto self = weak.lock())
      self->loop_.post([weak, id = *session] {
        if (const auto still = weak.lock(); still && still->session_.empty())
          still->session_ = id;
      });
  }

  /// From the client's thread: the messages of one text, to the loop in their order.
  static void hand_over(const std::weak_ptr<http_transport>& weak, exchange& seen, std::string_view text) {
    auto messages = parse_mcp_messages(text);
    if (!messages) {
      seen.wrong = messages.error().message;
      return;
    }
    const auto self = weak.lock();
    if (!self)
      return;
    for (auto& each : *messages) {
      const bool answers = each.what == mcp_message::kind::result || each.what == mcp_message::kind::error;
      seen.has_answer = seen.has_answer || (answers && each.id == seen.id);
      self->loop_.post([weak, message = std::make_shared<mcp_message>(std::move(each))] {
        if (const auto still = weak.lock(); still && !still->closing_)
          still->events_.on_message(std::move(*message));
      });
    }
  }

  void post(std::int64_t id, under_way& request) {
    request.token = token();
    if (const auto version = std::find_if(request.what.headers.begin(), request.what.headers.end(),
                                          [](const auto& each) { return each.first == "MCP-Protocol-Version"; });
        version != request.what.headers.end())
      version_ = version->second;
    auto out = prepare(id, request);
    out.method = "POST";
    out.body = mcp_text(request.what.message);
    out.headers.emplace_back("Content-Type", "application/json");
    out.headers.emplace_back("Accept", "application/json, text/event-stream");
    request.transfer = http_.submit(std::move(out));
  }
  void post(std::int64_t id, under_way&& request) { post(id, request); }

  /// Opens a stream, or goes on with one that broke off.
  void get(std::int64_t id) {
    const auto found = requests_.find(id);
    if (found == requests_.end() || closing_)
      return;
    auto& request = found->second;
    request.token = token();
    auto out = prepare(id, request);
    out.method = "GET";
    if (id != following)
      out.headers = headers(legacy_headers(), request.token);
    out.headers.emplace_back("Accept", "text/event-stream");
    if (!request.last_event.empty())
      out.headers.emplace_back("Last-Event-ID", request.last_event);
    request.transfer = http_.submit(std::move(out));
  }

  void get_later(std::int64_t id, milliseconds pause) {
    auto timer = std::make_shared<boost::asio::steady_timer>(loop_.context(), pause);
    timer->async_wait([timer, id, weak = weak_from_this()](boost::system::error_code failed) {
      if (const auto self = weak.lock(); self && !failed)
        self->get(id);
    });
  }

  void done(std::int64_t id, exchange& seen, http_result& result) {
    if (id == 0) {
      if (result.status >= 300 || result.error != http_error::none)
        spdlog::debug("MCP server {}: a notification was answered with status {}", in_quotes(spec_.name), result.status);
      return;
    }
    const auto found = requests_.find(id);
    if (found == requests_.end())
      return; // dropped
    auto& request = found->second;
    if (seen.has_answer && !seen.stays_open) {
      requests_.erase(found); // its message is on its way already
      return;
    }
    if (result.status == 401 && authorizer_ && !request.token.empty() && !request.renewed) {
      renew(id, request);
      return;
    }
    const bool streamed = is_stream(result) && result.status == 200;
    if (!seen.events.last_id().empty())
      request.last_event = seen.events.last_id();
    if (id == following) {
      if (streamed)
        get_later(id, std::min(seen.events.retry().value_or(resume_pause), resume_pause_max));
      else
        requests_.erase(found); // it offers no such stream
      return;
    }
    const bool accepted = result.error == http_error::none && result.status >= 200 && result.status < 300;
    if (accepted && !request.what.message.contains("id")) { // a notification
      requests_.erase(found);
      events_.on_taken(id);
      return;
    }
    const bool legacy =
        std::none_of(request.what.headers.begin(), request.what.headers.end(), [](const auto& each) { return each.first == "Mcp-Method"; });
    const bool broke_off = result.error == http_error::none || result.error == http_error::broken;
    if (streamed && legacy && broke_off && seen.wrong.empty() && !request.last_event.empty() && request.resumes < resumes_max) {
      ++request.resumes;
      get_later(id, std::min(seen.events.retry().value_or(resume_pause), resume_pause_max));
      return;
    }
    auto node = requests_.extract(found);
    if (!streamed && accepted)
      if (auto messages = parse_mcp_messages(seen.body); messages) {
        bool answered = false;
        for (auto& each : *messages) {
          answered = answered || each.id == id;
          events_.on_message(std::move(each));
        }
        if (answered || closing_)
          return;
      }
    events_.on_failed(id, failure_of(seen, result, node.mapped()));
  }

  void renew(std::int64_t id, under_way& request) {
    request.renewed = true;
    authorizer_->renew(request.token, [id, weak = weak_from_this(), loop = &loop_](const std::string&) {
      loop->post([id, weak] {
        const auto self = weak.lock();
        if (!self || self->closing_)
          return;
        if (const auto found = self->requests_.find(id); found != self->requests_.end()) {
          if (id == following)
            self->get(id);
          else
            self->post(id, found->second);
        }
      });
    });
  }

  mcp_http_failure failure_of(exchange& seen, const http_result& result, const under_way& request) const {
    mcp_http_failure out;
    out.status = result.status;
    out.sent = result.request_sent;
    out.body = seen.body.substr(0, error_body_max);
    const auto* challenge = result.headers.find("www-authenticate");
    const bool scope = result.status == 403 && challenge != nullptr && challenge->find("insufficient_scope") != std::string::npos;
    out.session_gone = result.status == 404 && !session_.empty();
    if (result.status == 401 || scope) {
      out.needs_login = true;
      out.words = std::string(scope                   ? "its token does not reach far enough"
                              : request.token.empty() ? "it wants a token"
                                                      : "it does not take our token")
                  + "; "
                  + (authorizer_ ? authorizer_->advice(challenge != nullptr ? *challenge : std::string())
                                 : std::string(spec_.mcp.token_env.empty() ? "name one by token_env"
                                                                           : "look at the variable that token_env names"));
    } else if (result.error != http_error::none && result.error != http_error::stopped) {
      out.words = spec_.url + ": " + result.message;
    } else if (!seen.wrong.empty()) {
      out.words = "it sent what is no message: " + seen.wrong;
    } else if (is_stream(result) && result.status == 200) {
      out.words = "its stream of events ended without the answer";
    } else if (result.status >= 300 && result.status < 400) {
      out.words = spec_.url + " redirects, which is not followed";
      if (const auto* to = result.headers.find("location"))
        out.words += "; it names " + in_quotes(*to);
    } else if (result.status >= 200 && result.status < 300) {
      out.words = "it answered with status " + std::to_string(result.status) + " and no answer to the request";
    } else {
      out.words = "it answered with status " + std::to_string(result.status);
      if (!seen.body.empty())
        out.words += ": " + mended_utf8(safe_prefix(seen.body, 300));
    }
    return out;
  }

  tool_spec spec_;
  io_loop& loop_;
  llm::http_client& http_;
  std::shared_ptr<mcp_authorizer> authorizer_;
  std::string fixed_token_;
  mcp_transport_events events_;
  std::map<std::int64_t, under_way> requests_;
  std::string session_, version_;
  bool closing_ = false;
};

} // namespace

expected<std::shared_ptr<mcp_transport>> open_mcp_http(const tool_spec& spec, environment& shared,
                                                       std::shared_ptr<mcp_authorizer> authorizer, mcp_transport_events events) {
  if (shared.http == nullptr)
    return fail(error_code::invalid_argument, "a remote MCP server needs an HTTP client, and this runtime was started without one",
                "tool \"" + spec.name + "\"");
  std::string token;
  if (!spec.mcp.token_env.empty()) {
    const auto found = shared.secret ? shared.secret(spec.mcp.token_env) : std::nullopt;
    if (!found)
      return fail(error_code::not_found, "`token_env` names " + spec.mcp.token_env + ", which is not set in the environment; set it",
                  "tool \"" + spec.name + "\"");
    if (const auto wrong = flaw_of_key(*found); !wrong.empty())
      return fail(error_code::invalid_argument, "the environment variable " + spec.mcp.token_env + ", which `token_env` names, " + wrong,
                  "tool \"" + spec.name + "\"");
    token = *found;
  }
  return std::shared_ptr<mcp_transport>(
      std::make_shared<http_transport>(spec, shared, std::move(authorizer), std::move(token), std::move(events)));
}

} // namespace troupe::tools
