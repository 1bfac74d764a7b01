#include "troupe/llm/scripted.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>

namespace troupe::llm {

namespace {

llm_failure failure_of(const fault& met) {
  llm_failure failure;
  failure.code = met.code;
  failure.message = met.message;
  failure.retry_after = met.retry_after_ms;
  const auto say = [&](llm_failure_kind kind, int status, const char* words) {
    failure.kind = kind;
    failure.http_status = status;
    if (failure.message.empty())
      failure.message = words;
  };
  switch (met.kind) {
  case fault_kind::status:
    say(llm_failure_kind::status, met.status, "the script answers with this status");
    if (failure.code.empty())
      failure.code = met.status == 429 ? "rate_limit_exceeded" : met.status == 529 ? "overloaded_error" : "";
    break;
  case fault_kind::error200:
    say(llm_failure_kind::status, 200, "the script answers 200 with an error object");
    break;
  case fault_kind::timeout:
    say(llm_failure_kind::timeout, 0, "the script lets this request time out");
    break;
  case fault_kind::reset:
    say(llm_failure_kind::connection, 0, "the script resets the connection");
    break;
  case fault_kind::truncate:
    say(llm_failure_kind::truncated, 200, "the script cuts the answer off");
    break;
  case fault_kind::malformed:
    say(llm_failure_kind::malformed, 200, "the script answers with a body that does not parse");
    break;
  case fault_kind::empty: // it states that nothing was used, as mock-llm does
    say(llm_failure_kind::empty, 200, "the script answers with neither text nor tool call");
    failure.usage.emplace();
    break;
  case fault_kind::crash:
    say(llm_failure_kind::agent_crash, 0, "the script crashes the agent that receives this");
    break;
  case fault_kind::slow:
    break;
  }
  return failure;
}

} // namespace

/// One thread, one queue ordered by time. A cancelled transfer becomes due at once.
class scripted_provider::timer {
public:
  using clock = std::chrono::steady_clock;

  ~timer() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable())
      thread_.join();
  }

  transfer_id reserve_id() { return next_.fetch_add(1, std::memory_order_relaxed); }

  void add(transfer_id id, std::chrono::milliseconds after, llm_outcome outcome, on_outcome done) {
    bool is_first = false;
    {
      const std::lock_guard lock(mutex_);
      const auto due = clock::now() + after;
      pending_.emplace(id, entry{due, std::move(outcome), std::move(done)});
      const auto place = queue_.emplace(due, id).first; // before begin() is asked: in one expression it may come first
      is_first = place == queue_.begin();
      if (!thread_.joinable())
        thread_ = std::thread([this] { run(); });
    }
    if (is_first)
      wake_.notify_one();
  }

  void cancel(transfer_id id) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = pending_.find(id);
      if (found == pending_.end())
        return;
      queue_.erase({found->second.due, id});
      found->second.due = clock::time_point::min();
      found->second.outcome = cancelled();
      queue_.emplace(found->second.due, id);
    }
    wake_.notify_one();
  }

private:
  struct entry {
    clock::time_point due;
    llm_outcome outcome;
    on_outcome done;
  };

  static llm_failure cancelled() {
    llm_failure failure;
    failure.kind = llm_failure_kind::cancelled;
    failure.message = "the request was cancelled";
    return failure;
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (!stopping_ || !queue_.empty()) {
      if (queue_.empty()) {
        wake_.wait(lock);
        continue;
      }
      const auto [due, id] = *queue_.begin();
      if (!stopping_ && due > clock::now()) {
        wake_.wait_until(lock, due);
        continue;
      }
      auto node = pending_.extract(id);
      queue_.erase(queue_.begin());
      if (stopping_ && due > clock::now())
        node.mapped().outcome = cancelled();
      lock.unlock();
      node.mapped().done(std::move(node.mapped().outcome));
      lock.lock();
    }
  }

  std::atomic<transfer_id> next_{1};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::set<std::pair<clock::time_point, transfer_id>> queue_;
  std::unordered_map<transfer_id, entry> pending_;
  std::thread thread_;
  bool stopping_ = false;
};

scripted_provider::scripted_provider(script_ptr script) : script_(std::move(script)), timer_(std::make_unique<timer>()) {}
scripted_provider::~scripted_provider() = default;

llm_outcome scripted_provider::answer(const llm_request& request, std::chrono::milliseconds& latency) const {
  const auto view = view_of(request);
  const auto found = script_->match(view);
  if (!found) {
    llm_failure failure;
    failure.kind = llm_failure_kind::status;
    failure.http_status = 400;
    failure.code = "no_rule";
    failure.message = describe_unmatched(view);
    return failure;
  }
  latency = script_->latency(found->rule);
  const auto met = script_->take_fault(*found, true);
  if (met && met->kind != fault_kind::slow)
    return failure_of(*met);
  auto reply = script_->render(*found, view);
  if (!reply) {
    llm_failure failure;
    failure.kind = llm_failure_kind::status;
    failure.http_status = 400;
    failure.code = "script_reply";
    failure.message = reply.error().text();
    return failure;
  }
  if (reply->text.empty() && reply->tool_calls.empty()) {
    auto failure = failure_of({.kind = fault_kind::empty, .status = 0, .code = {}, .message = {}, .retry_after = {}, .retry_after_ms = {}});
    failure.usage = reply->usage;
    return failure;
  }
  llm_response response;
  response.message.from = role::assistant;
  response.message.text = std::move(reply->text);
  response.message.tool_calls = std::move(reply->tool_calls);
  response.finish = reply->finish;
  response.usage = reply->usage;
  return response;
}

transfer_id scripted_provider::start(llm_request request, on_outcome done) {
  const auto id = timer_->reserve_id();
  std::chrono::milliseconds latency{0};
  auto outcome = answer(request, latency);
  if (latency > request.timeout) {
    latency = request.timeout;
    outcome = failure_of({.kind = fault_kind::timeout,
                          .status = 0,
                          .code = {},
                          .message = "the script's latency is longer than the request's timeout",
                          .retry_after = {},
                          .retry_after_ms = {}});
  }
  if (latency.count() > 0)
    timer_->add(id, latency, std::move(outcome), std::move(done));
  else
    done(std::move(outcome));
  return id;
}

void scripted_provider::cancel(transfer_id id) {
  timer_->cancel(id);
}

std::int64_t scripted_provider::input_token_bound(const llm_request& request) const {
  auto bytes = request.messages.totals().bytes + 16 * static_cast<std::int64_t>(request.messages.size());
  if (request.tools)
    for (const auto& tool : *request.tools)
      bytes += static_cast<std::int64_t>(tool.name.size() + tool.description.size()
                                         + tool.parameters.dump(-1, ' ', false, json::error_handler_t::replace).size());
  return std::max({bytes, script_->largest_stated_input(), input_token_estimate(request)});
}

std::int64_t scripted_provider::input_token_estimate(const llm_request& request) const {
  return script_->tokens_of(view_of(request).characters());
}

} // namespace troupe::llm
