#pragma once
// The provider `kind: scripted`: answers from a script, in this process, without network or key.

#include <memory>

#include "troupe/llm/provider.hpp"
#include "troupe/llm/script.hpp"

namespace troupe::llm {

/// Without latency the outcome comes within `start`; with it, from one timer thread that the first such request starts, in the order of the
/// times due. A rule's faults become failures of the same meaning: `status`, `error200` (as status 200), `timeout`, `truncated`,
/// `malformed`, `empty`, `reset` (connection, sent) and `crash` (`agent_crash`); `slow` answers, at once. A latency above
/// the request's timeout is a `timeout` after that timeout. No rule matches: status 400, code "no_rule". Destruction answers what is
/// pending with `cancelled`. Safe for any number of threads.
class scripted_provider final : public provider {
public:
  explicit scripted_provider(script_ptr script);
  ~scripted_provider() override;

  transfer_id start(llm_request request, on_outcome done) override;
  void cancel(transfer_id id) override;
  /// The bytes of everything sent and 16 for each message; not less than the largest usage that the script states or would estimate.
  std::int64_t input_token_bound(const llm_request& request) const override;
  /// What a reply without stated usage is charged: characters over `chars_per_token`.
  std::int64_t input_token_estimate(const llm_request& request) const override;

private:
  class timer;
  llm_outcome answer(const llm_request& request, std::chrono::milliseconds& latency) const;

  script_ptr script_;
  std::unique_ptr<timer> timer_;
};

} // namespace troupe::llm
