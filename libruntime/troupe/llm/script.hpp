#pragma once
// The script of a rehearsal (INTERFACES 4; its language is described in docs/rehearsals.md): rules tried in order, the first that matches
// answers. It drives the `scripted` provider in the process and `troupe mock-llm` over HTTP.
//
//   auto script = parse_script(document);              // every problem at once, each with its JSON pointer
//   if (auto found = (*script)->match(view)) {         // a rule, and what its captures took from the conversation
//     if (auto fault = (*script)->take_fault(*found))  // misbehaves `times` times …
//       …
//     auto reply = (*script)->render(*found, view);    // … then answers
//   }

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "troupe/llm/request_view.hpp"
#include "troupe/model/error.hpp"
#include "troupe/model/llm.hpp"

namespace troupe::llm {

/// How a provider misbehaves. What each looks like over HTTP is said in mock_llm/server.hpp, and in the process in scripted.hpp.
enum class fault_kind { status, timeout, reset, truncate, slow, malformed, empty, error200, crash };
BOOST_DESCRIBE_ENUM(fault_kind, status, timeout, reset, truncate, slow, malformed, empty, error200, crash)

struct fault {
  fault_kind kind = fault_kind::status;
  int status = 0;                                          ///< of kind `status`: 400 to 599
  std::string code;                                        ///< the vendor's error code or type; empty: the usual one of that status
  std::string message;                                     ///< empty: the usual one
  std::string retry_after;                                 ///< the header as it is sent; empty: none
  std::optional<std::chrono::milliseconds> retry_after_ms; ///< the same as a time, where it is one
};

/// What a rule answers.
struct scripted_reply {
  std::string text;
  std::vector<tool_call> tool_calls; ///< ids are filled in; unique within one reply
  finish_reason finish = finish_reason::stop;
  std::optional<token_usage> usage; ///< as the rule states it, else estimated by `chars_per_token`; absent: `usage: none`, it is not stated
};

namespace detail {
struct script_data;
}

/// A compiled script. Immutable but for the counters of `times`, which are atomic: every function may be called from any thread, and
/// several servers and providers may share one.
class script {
public:
  /// Which rule answers, and what its captures took. Belongs to the script and the view that it came from.
  struct matched {
    std::size_t rule = 0;
    json captured; ///< an object: a string, a list of strings or a list of objects for each name; null where the rule captures nothing
  };

  explicit script(std::unique_ptr<detail::script_data> data);
  ~script();
  script(const script&) = delete;
  script& operator=(const script&) = delete;

  std::size_t rule_count() const;
  /// The first rule whose conditions hold and whose required captures match; none: nothing answers. Linear in the conversation.
  std::optional<matched> match(const request_view& view) const;
  /// The fault that this request meets, if the rule still misbehaves; counts it. `crash` is passed over when `in_process` is false.
  std::optional<fault> take_fault(const matched& found, bool in_process) const;
  /// The reply, with its templates filled in. Fails when it would be larger than 1 MiB or have more than 128 tool calls.
  expected<scripted_reply> render(const matched& found, const request_view& view) const;
  /// True when the rule's text and tool calls are the same for every request (ids and estimated usage apart).
  bool is_constant(std::size_t rule) const;
  std::chrono::milliseconds latency(std::size_t rule) const;
  /// Headers that the rule adds to its HTTP answers.
  const std::vector<std::pair<std::string, std::string>>& headers(std::size_t rule) const;

  /// Every agent and every model that a rule names, sorted.
  const std::vector<std::string>& agents() const;
  const std::vector<std::string>& models() const;
  /// Tokens that so many characters make, by `chars_per_token`; at least 1 for anything but nothing.
  std::int64_t tokens_of(std::int64_t characters) const;
  /// The largest input usage that any rule states; 0 where none does.
  std::int64_t largest_stated_input() const;

private:
  std::unique_ptr<detail::script_data> data_;
};

using script_ptr = std::shared_ptr<const script>;

/// Compiles a script. Every problem at once: `error::where` is the JSON pointer of the offending value, and the message says what is wrong
/// and what to write instead. Bounds: 10,000 rules, 64 KiB a template, 1,000 characters and 16 groups a pattern. At most 100 problems are
/// told.
tl::expected<script_ptr, std::vector<error>> parse_script(const json& document);

/// Says in one line which request found no rule: for the error that is answered then.
std::string describe_unmatched(const request_view& view);

} // namespace troupe::llm
