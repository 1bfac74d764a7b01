#pragma once
// A provider over HTTP: a vendor's wire format, sent by the shared client. One request, one outcome, no retry.

#include <memory>
#include <string>

#include "troupe/llm/http_client.hpp"
#include "troupe/llm/provider.hpp"
#include "troupe/llm/wire.hpp"
#include "troupe/model/config.hpp"

namespace troupe::llm {

/// Where and with which headers a vendor is spoken to.
struct endpoint {
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers; ///< the key among them
  std::string proxy;
  std::string secret;            ///< the key, taken out of every failure's message and every answer, ids and names of calls included
  std::vector<std::string> said; ///< what else is sent with each request, taken out of failures' messages: a server may say it again
  milliseconds timeout{60'000};  ///< a request's own timeout counts where it is shorter
  bool stream = true;            ///< false: never, whatever a request says
  bool name_agent = false;       ///< send X-Troupe-Agent
  std::int64_t tool_tokens = 0;  ///< what the vendor adds to the input of a request that declares tools, at most
};

class http_provider final : public provider {
public:
  /// `client` must outlive the provider's transfers, not the other way round.
  http_provider(endpoint where, std::unique_ptr<wire_format> format, http_client& client);

  /// An answer that is complete by its own terminal event is delivered at once, before the connection is done with it.
  transfer_id start(llm_request request, on_outcome done) override;
  void cancel(transfer_id id) override;
  /// The body's bytes (a token has at least one), 16 for each message, 64 for each tool, 256, and what the vendor adds for tools.
  std::int64_t input_token_bound(const llm_request& request) const override;
  /// A quarter of the bytes of all texts, and 4 for each message.
  std::int64_t input_token_estimate(const llm_request& request) const override;

private:
  struct exchange;
  struct shared;
  std::shared_ptr<const shared> shared_;
  http_client& client_;
};

} // namespace troupe::llm
