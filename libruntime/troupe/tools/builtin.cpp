#include "troupe/tools/builtin.hpp"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "troupe/tools/builtin_parts.hpp"
#include "troupe/tools/worker_pool.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::tools {

namespace {

const builtin_row* const rows[] = {&calculator_row, &clock_row,     &http_fetch_row, &list_files_row,
                                   &read_file_row,  &state_get_row, &state_set_row,  &write_file_row};

expected<const builtin_row*> row_named(std::string_view name) {
  for (const auto* row : rows)
    if (name == row->name)
      return row;
  auto words = "there is no builtin \"" + std::string(name) + "\"";
  const auto& known = builtin_names();
  if (const auto near = nearest_name(name, {known.begin(), known.end()}); !near.empty())
    words += "; did you mean \"" + std::string(near) + "\"?";
  return fail(error_code::not_found, std::move(words));
}

class immediate_runner : public runner {
public:
  explicit immediate_runner(std::function<tool_outcome(const json&)> function) : function_(std::move(function)) {}
  running_id start(invocation call, on_outcome done) override {
    done(function_(call.arguments));
    return next_.fetch_add(1, std::memory_order_relaxed);
  }
  void cancel(running_id) override {}

private:
  std::function<tool_outcome(const json&)> function_;
  std::atomic<running_id> next_{1};
};

class pooled_runner : public runner {
public:
  pooled_runner(worker_pool& workers, std::string tool, builtin_function function)
      : workers_(workers), shared_(std::make_shared<state>(std::move(tool), std::move(function))) {}

  ~pooled_runner() override {
    const std::lock_guard lock(shared_->mutex);
    for (auto& [id, token] : shared_->running)
      token->cancel();
  }

  running_id start(invocation call, on_outcome done) override {
    auto token = std::make_shared<call_token>(call.timeout);
    running_id id = 0;
    {
      const std::lock_guard lock(shared_->mutex);
      id = shared_->next++;
      shared_->running.emplace(id, token);
    }
    workers_.submit([shared = shared_, id, token, call = std::move(call), done = std::move(done)] {
      auto outcome = token->should_end() ? tool_outcome{} : shared->function(call.arguments, *token);
      if (token->should_end() && !token->cancelled())
        outcome = {tool_status::timed_out,
                   {},
                   "tool \"" + shared->tool + "\" took longer than its timeout of " + std::to_string(call.timeout.count()) + " ms",
                   0,
                   false};
      {
        const std::lock_guard lock(shared->mutex);
        shared->running.erase(id);
      }
      if (token->cancelled())
        outcome = {tool_status::cancelled, {}, "tool \"" + shared->tool + "\" was cancelled", 0, false};
      done(std::move(outcome));
    });
    return id;
  }

  void cancel(running_id id) override {
    const std::lock_guard lock(shared_->mutex);
    if (const auto at = shared_->running.find(id); at != shared_->running.end())
      at->second->cancel();
  }

private:
  struct state {
    state(std::string name, builtin_function what) : tool(std::move(name)), function(std::move(what)) {}
    const std::string tool;
    const builtin_function function;
    std::mutex mutex;
    running_id next = 1;
    std::unordered_map<running_id, std::shared_ptr<call_token>> running;
  };

  worker_pool& workers_;
  std::shared_ptr<state> shared_; // the runner may die before its calls have ended
};

} // namespace

call_token::call_token(std::chrono::milliseconds timeout) : deadline_(monotonic_now() + timeout) {}

bool call_token::should_end() const {
  return cancelled() || monotonic_now() >= deadline_;
}

std::unique_ptr<runner> answering_runner(std::function<tool_outcome(const json&)> function) {
  return std::make_unique<immediate_runner>(std::move(function));
}

std::unique_ptr<runner> worker_runner(worker_pool& workers, std::string tool, builtin_function function) {
  return std::make_unique<pooled_runner>(workers, std::move(tool), std::move(function));
}

tool_outcome builtin_failure(const std::string& tool, const std::string& words) {
  return builtin_failure(tool, error{error_code::invalid_argument, words, {}});
}

tool_outcome builtin_failure(const std::string& tool, const error& why) {
  tool_outcome out;
  out.status = tool_status::failed;
  out.error = "tool \"" + tool + "\": " + why.message;
  out.permanent = why.code != error_code::unavailable;
  return out;
}

std::string text_argument(const json& arguments, const char* name, std::string_view absent) {
  const auto at = arguments.find(name);
  return at != arguments.end() && at->is_string() ? at->get<std::string>() : std::string(absent);
}

std::int64_t integer_argument(const json& arguments, const char* name, std::int64_t absent) {
  const auto at = arguments.find(name);
  if (at == arguments.end() || !at->is_number())
    return absent;
  if (at->is_number_unsigned())
    return static_cast<std::int64_t>(std::min<std::uint64_t>(at->get<std::uint64_t>(), INT64_MAX));
  if (at->is_number_integer())
    return at->get<std::int64_t>();
  const auto real = at->get<double>();
  return real >= 9e18 ? INT64_MAX : real <= -9e18 ? INT64_MIN : static_cast<std::int64_t>(real);
}

bool flag_argument(const json& arguments, const char* name, bool absent) {
  const auto at = arguments.find(name);
  return at != arguments.end() && at->is_boolean() ? at->get<bool>() : absent;
}

const std::vector<std::string>& builtin_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const auto* row : rows)
      out.emplace_back(row->name);
    return out;
  }();
  return names;
}

expected<tool_declaration> builtin_declaration(std::string_view name) {
  return row_named(name).map([](const builtin_row* row) { return row->declare(); });
}

expected<std::unique_ptr<runner>> make_builtin_runner(const tool_spec& spec, environment& shared) {
  const auto row = row_named(spec.builtin.empty() ? spec.name : spec.builtin);
  auto made = row ? (*row)->make(spec, shared) : expected<std::unique_ptr<runner>>(tl::unexpected(row.error()));
  if (!made)
    made.error().where = "tool \"" + spec.name + "\"";
  return made;
}

} // namespace troupe::tools
