#include "logging.hpp"

#include <mutex>

#include <poll.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include "timeline.hpp"
#include "troupe/util/redact.hpp"

namespace troupe::cli {

namespace {

/// A pipe takes this much at once when it is writable at all (PIPE_BUF), so such a line never blocks.
constexpr std::size_t max_line_bytes = 4'096;

/// Writes to standard error where it takes a line at once; else the line is dropped, counted, and the count told with the next one.
class stderr_sink final : public spdlog::sinks::base_sink<std::mutex> {
protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    if (!secrets().empty()) { // before it is cut: a part of a secret is not found any more
      const auto clean = redacted(std::string(line.data(), line.size()));
      line.clear();
      line.append(clean.data(), clean.data() + clean.size());
    }
    if (line.size() > max_line_bytes) {
      line.resize(max_line_bytes - 1);
      line.push_back('\n');
    }
    pollfd ready{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0
        || ::write(STDERR_FILENO, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      ++dropped_;
    else if (dropped_ != 0) {
      const auto words = "(" + std::to_string(dropped_) + " log lines were dropped: nobody read standard error)\n";
      dropped_ = 0;
      [[maybe_unused]] const auto written = ::write(STDERR_FILENO, words.data(), words.size());
    }
  }
  void flush_() override {}

private:
  std::uint64_t dropped_ = 0;
};

/// The message as a JSON string: it may hold anything.
class json_text final : public spdlog::custom_flag_formatter {
public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& into) override {
    const auto text = nlohmann::json(std::string(message.payload.data(), message.payload.size()))
                          .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    into.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<json_text>(); }
};

/// The message on one line, without what could drive a terminal: it may hold anything.
class plain_text final : public spdlog::custom_flag_formatter {
public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& into) override {
    const auto text = printable({message.payload.data(), message.payload.size()}, max_line_bytes);
    into.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<plain_text>(); }
};

} // namespace

void start_logging(const global_options& global) {
  auto logger = std::make_shared<spdlog::logger>("troupe", std::make_shared<stderr_sink>());
  logger->set_level(spdlog::level::from_str(global.log_level));
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  if (global.log_format == "json")
    formatter->add_flag<json_text>('*').set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","message":%*})");
  else
    formatter->add_flag<plain_text>('*').set_pattern("%H:%M:%S.%e %-5l %*");
  logger->set_formatter(std::move(formatter));
  spdlog::set_default_logger(std::move(logger));
}

} // namespace troupe::cli
