// The builtin `http_fetch`: GET from hosts that the configuration names.
#include <mutex>
#include <utility>

#include "troupe/llm/http_client.hpp"
#include "troupe/tools/address_check.hpp"
#include "troupe/tools/builtin_parts.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::tools {

namespace {

constexpr int redirects_max = 5;

tool_declaration declare() {
  return {"http_fetch",
          "The text at a URL (GET), at most 1 MiB of it. Only from the hosts that are allowed here.",
          {{"type", "object"},
           {"required", {"url"}},
           {"properties", {{"url", {{"type", "string"}, {"maxLength", 8'192}, {"description", "http or https"}}}}},
           {"additionalProperties", false}},
          effect::none,
          risk::low};
}

/// Where a fetch is: the entry that allows its present hop. Written and read on the client's thread, one after the other.
struct fetch_state {
  std::shared_ptr<const std::vector<allowed_host>> allowed;
  const allowed_host* entry = nullptr;
};

std::string not_allowed(const url_target& target) {
  return "host \"" + target.host + "\" (port " + std::to_string(target.port) + ") is not among the tool's allow_hosts";
}

std::string content_type(const llm::http_result& result) {
  const auto* type = result.headers.find("content-type");
  return type ? mended_utf8(std::string_view(*type).substr(0, 100)) : "unknown type";
}

/// The body as text; true when it was cut.
bool take_text(llm::http_result& result, std::string& into) {
  bool cut = result.error == llm::http_error::too_large;
  into = std::move(result.body);
  if (cut && into.size() > 4)
    into.resize(utf8_prefix(into, into.size() - 4).size());
  mend_utf8(into);
  if (into.size() > builtin_text_bytes_max) {
    into.resize(utf8_prefix(into, builtin_text_bytes_max).size());
    cut = true;
  }
  return cut;
}

tool_outcome outcome_of(const tool_spec& spec, llm::http_result result, std::chrono::milliseconds timeout) {
  using llm::http_error;
  tool_outcome out;
  out.exit_status = result.status;
  const auto name = "tool \"" + spec.name + "\": ";
  switch (result.error) {
  case http_error::none:
  case http_error::too_large: break;
  case http_error::timed_out:
    out.status = tool_status::timed_out;
    out.error = name + "no whole answer within its timeout of " + std::to_string(timeout.count()) + " ms";
    return out;
  case http_error::cancelled:
    out.status = tool_status::cancelled;
    out.error = name + "it was cancelled";
    return out;
  default:
    out.status = tool_status::failed;
    out.error = name + mended_utf8(result.message);
    return out;
  }
  const auto type = content_type(result);
  if (result.body.find('\0') != std::string::npos)
    return builtin_failure(spec.name, "what is there is binary (" + type + "), and http_fetch reads text only");
  out.truncated = take_text(result, out.output);
  if (out.truncated)
    out.output += "\n[cut: these are the first " + std::to_string(out.output.size()) + " bytes]";
  if (result.status < 200 || result.status > 299) {
    out.status = tool_status::failed;
    out.error = name + "the server answered with status " + std::to_string(result.status);
    if (!result.final_url.empty())
      out.error += " at " + mended_utf8(result.final_url);
  }
  return out;
}

class fetch_runner : public runner {
public:
  fetch_runner(const tool_spec& spec, llm::http_client& http, std::vector<allowed_host> allowed)
      : spec_(std::make_shared<const tool_spec>(spec)), http_(http), allowed_(std::make_shared<const std::vector<allowed_host>>(std::move(allowed))) {}

  running_id start(invocation call, on_outcome done) override {
    const auto url = text_argument(call.arguments, "url");
    const auto target = target_of(url);
    auto state = std::make_shared<fetch_state>(fetch_state{allowed_, nullptr});
    if (target)
      state->entry = entry_for(*allowed_, *target);
    if (!state->entry) {
      done(builtin_failure(spec_->name, target ? not_allowed(*target) : target.error().message));
      return 0;
    }
    llm::http_request request;
    request.url = url;
    request.headers = {{"Accept", "text/*, application/json, */*;q=0.5"}};
    request.timeout = call.timeout;
    request.max_response_bytes = builtin_text_bytes_max;
    request.max_redirects = redirects_max;
    request.on_redirect = [state](const std::string& next) {
      const auto to = target_of(next);
      state->entry = to ? entry_for(*state->allowed, *to) : nullptr;
      return state->entry != nullptr;
    };
    request.address_filter = [state](const sockaddr* address) { return state->entry && may_connect(*state->entry, address); };
    request.on_done = [spec = spec_, timeout = call.timeout, done = std::move(done)](llm::http_result result) {
      done(outcome_of(*spec, std::move(result), timeout));
    };
    return http_.submit(std::move(request));
  }

  void cancel(running_id id) override { http_.cancel(id); }

private:
  std::shared_ptr<const tool_spec> spec_;
  llm::http_client& http_;
  std::shared_ptr<const std::vector<allowed_host>> allowed_;
};

expected<std::unique_ptr<runner>> make(const tool_spec& spec, environment& shared) {
  if (spec.allow_hosts.empty())
    return fail(error_code::invalid_argument, "http_fetch needs `allow_hosts`: the hosts that it may read from");
  if (!shared.http)
    return fail(error_code::invalid_argument, "http_fetch needs an HTTP client, and this runtime was started without one");
  auto allowed = parse_allowed_hosts(spec.allow_hosts);
  if (!allowed)
    return tl::unexpected(allowed.error());
  return std::make_unique<fetch_runner>(spec, *shared.http, std::move(*allowed));
}

} // namespace

const builtin_row http_fetch_row{"http_fetch", &declare, &make};

} // namespace troupe::tools
