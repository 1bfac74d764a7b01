#pragma once
// What the builtins share: the row of their table, and the two ways in which most of them run.

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "troupe/tools/builtin.hpp"

namespace troupe::tools {

class worker_pool;

/// One builtin. The table stands in builtin.cpp.
struct builtin_row {
  const char* name;
  tool_declaration (*declare)();
  expected<std::unique_ptr<runner>> (*make)(const tool_spec& spec, environment& shared);
};

extern const builtin_row calculator_row, clock_row, http_fetch_row, list_files_row, read_file_row, write_file_row, state_get_row,
    state_set_row;

/// Whether a call should end: it was cancelled, or its time is up. Asked now and then by what takes long.
class call_token {
public:
  explicit call_token(std::chrono::milliseconds timeout);
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool should_end() const;
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

private:
  std::atomic<bool> cancelled_{false};
  std::chrono::steady_clock::time_point deadline_;
};

using builtin_function = std::function<tool_outcome(const json& arguments, const call_token& token)>;

/// Answers within `start`: for what takes microseconds.
std::unique_ptr<runner> answering_runner(std::function<tool_outcome(const json& arguments)> function);

/// Runs on the worker pool; a call that was cancelled or whose time is up is answered so, whatever the function returns. What was cancelled
/// while it waited in line does not run.
std::unique_ptr<runner> worker_runner(worker_pool& workers, std::string tool, builtin_function function);

/// A failed outcome: "tool "read_file": …". The same call would fail again, so it costs no retry (SEMANTICS 4): the agent is told at once.
tool_outcome builtin_failure(const std::string& tool, const std::string& words);
/// The same for what went wrong; only what is `unavailable` may pass by itself, and is tried again.
tool_outcome builtin_failure(const std::string& tool, const error& why);

/// Arguments by name, or what stands for an absent one; numbers are clamped to 64 bits (1e300 is an integer to JSON Schema).
std::string text_argument(const json& arguments, const char* name, std::string_view absent = {});
std::int64_t integer_argument(const json& arguments, const char* name, std::int64_t absent);
bool flag_argument(const json& arguments, const char* name, bool absent = false);

constexpr std::size_t builtin_text_bytes_max = std::size_t{1} << 20;

} // namespace troupe::tools
