// MCP over a process's standard streams: one message a line.

#include <deque>
#include <utility>

#include <boost/asio/steady_timer.hpp>

#include "troupe/tools/io_loop.hpp"
#include "troupe/tools/mcp_transport.hpp"
#include "troupe/tools/process.hpp"
#include "troupe/tools/process_call.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/suggest.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::tools {

namespace {

constexpr std::chrono::milliseconds farewell{1'000}; ///< for a server whose standard input is closed
constexpr std::chrono::milliseconds last_words{500}; ///< for a server that closed its standard output: its end says more
constexpr std::size_t error_text_max = 2'000;

/// Why a server is not there any more, with the end of what it said about it.
error ending_words(const std::string& server, process_ending ending) {
  const auto who = "MCP server " + in_quotes(server);
  auto said = ending.errors.take_text();
  while (!said.empty() && (said.back() == '\n' || said.back() == '\r'))
    said.pop_back();
  if (said.size() > error_text_max)
    said = "… " + mended_utf8(said.substr(said.size() - error_text_max));
  const auto tail = said.empty() ? std::string() : "; its standard error ends with: " + said;
  switch (ending.why) {
  case process_ending::how::not_started:
    return {error_code::unavailable, who + " did not start: " + (ending.problem.empty() ? said : ending.problem), {}};
  case process_ending::how::too_many:
    return {error_code::unavailable, who + " was killed: it had more processes and threads than its limit" + tail, {}};
  case process_ending::how::exited:
    return {error_code::unavailable, who + " ended with exit status " + std::to_string(ending.status) + tail, {}};
  default:
    return {error_code::unavailable, who + " was stopped" + (ending.problem.empty() ? std::string() : ": " + ending.problem) + tail, {}};
  }
}

class process_transport : public mcp_transport, public std::enable_shared_from_this<process_transport> {
public:
  process_transport(std::string server, io_loop& loop, mcp_transport_events events)
      : server_(std::move(server)), loop_(loop), events_(std::move(events)), timer_(loop.context()) {}

  void start(process_job job) {
    job.on_output = [weak = weak_from_this()](std::string_view piece) {
      if (const auto self = weak.lock())
        self->take(piece);
    };
    job.on_output_end = [weak = weak_from_this()] {
      if (const auto self = weak.lock())
        self->fell_silent();
    };
    process_ =
        process_call::start(loop_, std::move(job), [self = shared_from_this()](process_ending ending) { self->ended(std::move(ending)); });
  }

  void send(mcp_send what) override {
    if (gone_ || closing_ || silent_)
      return;
    if (!process_->write(mcp_text(what.message) + "\n"))
      loop_.post([self = shared_from_this()] {
        self->lost({error_code::unavailable, "MCP server " + in_quotes(self->server_) + " does not read what it is sent", {}});
      });
  }

  void drop(std::int64_t) override {}
  void follow() override {}

  /// The specification's way out: its standard input is closed; then it is asked by signal, then killed.
  void close(bool gently, std::function<void()> ended) override {
    closing_ = true;
    if (gone_) {
      ended();
      return;
    }
    on_closed_ = std::move(ended);
    if (!gently) {
      process_->kill_now();
      return;
    }
    process_->close_input();
    timer_.expires_after(farewell);
    timer_.async_wait([self = shared_from_this()](boost::system::error_code failed) {
      if (!failed && !self->gone_)
        self->process_->cancel();
    });
  }

private:
  void take(std::string_view piece) {
    if (closing_)
      return;
    while (!piece.empty()) {
      const auto end = piece.find('\n');
      line_.append(piece.substr(0, end));
      if (line_.size() > mcp_message_bytes_max) {
        garbage("a line of more than " + std::to_string(mcp_message_bytes_max) + " bytes");
        return;
      }
      if (end == std::string_view::npos)
        return;
      piece.remove_prefix(end + 1);
      read_line(std::exchange(line_, {}));
      if (closing_)
        return;
    }
  }

  void read_line(const std::string& line) {
    if (line.find_first_not_of(" \t\r") == std::string::npos)
      return;
    auto messages = parse_mcp_messages(line);
    if (!messages) {
      garbage(messages.error().message + ": " + mended_utf8(safe_prefix(line, 200)));
      return;
    }
    for (auto& each : *messages)
      if (!closing_)
        events_.on_message(std::move(each));
  }

  /// Nothing that it is sent can be answered any more. Most servers end then, and say how.
  void fell_silent() {
    silent_ = true;
    if (closing_)
      return;
    timer_.expires_after(last_words);
    timer_.async_wait([self = shared_from_this()](boost::system::error_code failed) {
      if (!failed)
        self->lost({error_code::unavailable, "MCP server " + in_quotes(self->server_) + " closed its standard output", {}});
    });
  }

  void garbage(std::string what) {
    const auto self = shared_from_this();
    if (!closing_)
      events_.on_garbage(std::move(what));
  }

  void lost(error why) {
    if (!closing_ && !gone_)
      events_.on_lost(std::move(why));
  }

  void ended(process_ending ending) {
    timer_.cancel();
    const bool first = !std::exchange(gone_, true);
    if (const auto closed = std::exchange(on_closed_, nullptr))
      closed();
    else if (first && !closing_) // it may have ended within `start`, whose caller does not know us yet
      loop_.post([self = shared_from_this(), why = ending_words(server_, std::move(ending))] {
        if (!self->closing_)
          self->events_.on_lost(why);
      });
  }

  std::string server_;
  io_loop& loop_;
  mcp_transport_events events_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<process_call> process_;
  std::string line_;
  bool closing_ = false;
  bool gone_ = false;
  bool silent_ = false; ///< its standard output is closed
  std::function<void()> on_closed_;
};

} // namespace

expected<std::shared_ptr<mcp_transport>> start_mcp_process(const tool_spec& spec, environment& shared, mcp_transport_events events) {
  auto job = make_server_job(spec, shared);
  if (!job)
    return tl::unexpected(job.error());
  auto transport = std::make_shared<process_transport>(spec.name, shared.loop, std::move(events));
  transport->start(std::move(*job));
  return std::shared_ptr<mcp_transport>(std::move(transport));
}

} // namespace troupe::tools
