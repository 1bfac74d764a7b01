// The builtin `http_fetch`: GET from hosts that the configuration names.
#include <utility>

#include "troupe/tools/builtin_parts.hpp"
#include "troupe/tools/web_call.hpp"
#include "troupe/util/clock.hpp"

namespace troupe::tools {

namespace {

constexpr int redirects_max = 5;

tool_declaration declare_http_fetch() {
  return {"http_fetch",
          "The text at a URL (GET), at most 1 MiB of it. Only from the hosts that are allowed here.",
          {{"type", "object"},
           {"required", {"url"}},
           {"properties", {{"url", {{"type", "string"}, {"maxLength", 8'192}, {"description", "http or https"}}}}},
           {"additionalProperties", false}},
          effect::none,
          risk::low};
}

class fetch_runner : public runner {
public:
  fetch_runner(const tool_spec& spec, llm::http_client& http, std::vector<allowed_host> allowed)
      : rules_(std::make_shared<const web_answer_rules>(web_answer_rules{.tool = spec.name, .bytes_max = builtin_text_bytes_max})),
        http_(http), allowed_(std::make_shared<const std::vector<allowed_host>>(std::move(allowed))) {}

  running_id start(invocation call, on_outcome done) override {
    llm::http_request request;
    request.url = text_argument(call.arguments, "url");
    if (const auto may = confine(request, allowed_); !may) {
      done(builtin_failure(rules_->tool, may.error()));
      return 0;
    }
    request.headers = {{"Accept", "text/*, application/json, */*;q=0.5"}};
    request.timeout = call.timeout;
    request.max_response_bytes = builtin_text_bytes_max;
    request.max_redirects = redirects_max;
    request.on_done = [rules = rules_, timeout = call.timeout, done = std::move(done)](llm::http_result result) {
      done(outcome_of(*rules, std::move(result), timeout, utc_now_us()));
    };
    return http_.submit(std::move(request));
  }

  void cancel(running_id id) override { http_.cancel(id); }

private:
  std::shared_ptr<const web_answer_rules> rules_;
  llm::http_client& http_;
  allow_list allowed_;
};

expected<std::unique_ptr<runner>> make_http_fetch(const tool_spec& spec, environment& shared) {
  if (spec.allow_hosts.empty())
    return fail(error_code::invalid_argument, "http_fetch needs `allow_hosts`: the hosts that it may read from");
  if (!shared.http)
    return fail(error_code::invalid_argument, "http_fetch needs an HTTP client, and this runtime was started without one");
  auto allowed = parse_allowed_hosts(spec.allow_hosts, spec.allow_private);
  if (!allowed)
    return tl::unexpected(allowed.error());
  return std::make_unique<fetch_runner>(spec, *shared.http, std::move(*allowed));
}

} // namespace

const builtin_row http_fetch_row{"http_fetch", &declare_http_fetch, &make_http_fetch};

} // namespace troupe::tools
