#pragma once
// What tests of one LLM step share: a chain of two models, steps of its machine in one line each.

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "troupe/policy/llm_call.hpp"

#include "test.hpp"

namespace troupe::test {

template <class T>
bool is(const policy::llm_step& step) {
  return std::holds_alternative<T>(step.next);
}

template <class T>
const T& get(const policy::llm_step& step) {
  if (const auto* found = std::get_if<T>(&step.next))
    return *found;
  const auto* last = std::get_if<policy::gave_up>(&step.next);
  throw std::runtime_error("another decision: alternative " + std::to_string(step.next.index()) + (last ? ", " + last->message : ""));
}

template <class T>
T get(policy::llm_step&& step) {
  return get<T>(std::as_const(step));
}

/// The first event of this kind, or null.
template <class T>
const T* event_of(const policy::llm_step& step) {
  for (const auto& body : step.events)
    if (const auto* found = std::get_if<T>(&body))
      return found;
  return nullptr;
}
template <class T>
const T* event_of(policy::llm_step&&) = delete;

template <class T>
bool has(const policy::llm_step& step) {
  return event_of<T>(step) != nullptr;
}

/// A copy of it, for a step that is gone after the expression.
template <class T>
T the(const policy::llm_step& step) {
  if (const auto* found = event_of<T>(step))
    return *found;
  throw std::runtime_error("no such event");
}

inline llm_failure status(int number, std::string code = {}, std::string message = {}) {
  llm_failure failure;
  failure.kind = llm_failure_kind::status;
  failure.http_status = number;
  failure.code = std::move(code);
  failure.message = std::move(message);
  return failure;
}

inline llm_failure broken(llm_failure_kind kind, bool sent = true) {
  llm_failure failure;
  failure.kind = kind;
  failure.sent = sent;
  return failure;
}

inline llm_response answer(std::string text, std::optional<token_usage> usage = {}) {
  llm_response response;
  response.message = {role::assistant, std::move(text), {}, "", false};
  response.usage = usage;
  return response;
}

/// openai/gpt-4o at $1 and $10 a million tokens, then claude/sonnet at twice that; 1,000 input tokens at most, 1,000 output tokens asked
/// for.
struct llm_call_fixture : caf_test_case_auto_fixture {
  time_point now{std::chrono::seconds(1'000)};
  std::shared_ptr<model_spec> model = std::make_shared<model_spec>();
  policy::llm_call_facts facts;
  std::unique_ptr<policy::link_states> states;
  std::vector<std::shared_ptr<policy::link_state>> links;
  std::unique_ptr<policy::llm_call> call;

  llm_call_fixture() {
    model->name = "careful";
    model->chain = {{"openai", "gpt-4o", {true, 1'000'000, 0, 0, 10'000'000, 0, 0, 0}, 0},
                    {"claude", "sonnet", {true, 2'000'000, 0, 0, 20'000'000, 0, 0, 0}, 0}};
    facts.step_id = "s1";
    facts.max_tokens = 1'000;
    facts.links = {{1'000, 800, std::chrono::seconds(60)}, {1'000, 800, std::chrono::seconds(60)}};
  }

  /// A new call; `anew`: of a gateway that has seen nothing yet.
  void make(bool anew = true) {
    call.reset();
    if (anew)
      states = std::make_unique<policy::link_states>();
    links = states->of(*model);
    call = std::make_unique<policy::llm_call>(model, facts, links);
  }
  /// The first request is in flight.
  policy::llm_step begin() {
    REQUIRE(is<policy::reserve_for>(call->start(now)));
    auto step = call->granted(now);
    REQUIRE(is<policy::send_to>(step));
    return step;
  }
  policy::llm_step fail(const llm_failure& failure) { return call->failed(call->requests(), failure, now, 0.5); }
  policy::llm_step respond(llm_response response) { return call->responded(call->requests(), std::move(response), {}, now, 0.5); }
  /// Waits as `failed` says, and the next request is in flight.
  void retry(const policy::llm_step& failed) {
    now = get<policy::wait_until>(failed).at;
    REQUIRE(is<policy::reserve_for>(call->tick(now)));
    REQUIRE(is<policy::send_to>(call->granted(now)));
  }
  void open(std::size_t link) {
    for (int i = 0; i < 5; ++i)
      (void) links[link]->breaker.acquire(now).permit.failed(now);
  }
};

} // namespace troupe::test
