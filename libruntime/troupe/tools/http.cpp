#include "troupe/tools/http.hpp"

#include <algorithm>
#include <utility>

#include "troupe/llm/http_transfer.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/redact.hpp"

namespace troupe::tools {

namespace {

/// The Accept header for what is accepted.
std::string accept_of(const std::vector<std::string>& types) {
  if (types.empty())
    return "application/json, text/*, */*;q=0.5";
  std::string out;
  for (const auto& each : types)
    out += (out.empty() ? "" : ", ") + each;
  return out;
}

struct http_tool {
  http_tool(const tool_spec& from, llm::http_client& client, policy::request_template made)
      : spec(from), http(client), request(std::move(made)) {}
  const tool_spec spec;
  llm::http_client& http;
  const policy::request_template request;
  std::map<std::string, std::string> secrets;
  allow_list allowed;
  web_answer_rules rules;
};

tool_outcome refusal(const http_tool& tool, const std::string& words) {
  tool_outcome out;
  out.status = tool_status::failed;
  out.error = "tool \"" + tool.spec.name + "\" was not called: " + words;
  out.permanent = true;
  return out;
}

class http_runner : public runner {
public:
  explicit http_runner(std::shared_ptr<const http_tool> tool) : tool_(std::move(tool)) {}

  running_id start(invocation call, on_outcome done) override {
    auto parts = tool_->request.render(call.arguments, tool_->secrets);
    if (!parts) {
      done(refusal(*tool_, parts.error().message));
      return 0;
    }
    llm::http_request request;
    request.method = tool_->spec.method;
    request.url = std::move(parts->url);
    request.headers = std::move(parts->headers);
    if (std::none_of(request.headers.begin(), request.headers.end(),
                     [](const auto& each) { return llm::lower_case(each.first) == "accept"; }))
      request.headers.emplace_back("Accept", accept_of(tool_->spec.http.accept));
    if (request.method != "GET" && request.method != "HEAD")
      request.headers.emplace_back("Idempotency-Key", call.idempotency_key);
    request.body = std::move(parts->body);
    request.timeout = call.timeout;
    request.max_response_bytes = tool_->rules.bytes_max;
    request.max_redirects = static_cast<int>(tool_->spec.http.redirects);
    request.credentials = tool_->request.credentials();
    if (const auto may = confine(request, tool_->allowed); !may) {
      done(refusal(*tool_, may.error().message));
      return 0;
    }
    request.on_done = [tool = tool_, timeout = call.timeout, done = std::move(done)](llm::http_result result) {
      done(outcome_of(tool->rules, std::move(result), timeout, utc_now_us()));
    };
    return tool_->http.submit(std::move(request));
  }

  void cancel(running_id id) override { tool_->http.cancel(id); }

private:
  std::shared_ptr<const http_tool> tool_; // the runner may die before its calls have ended
};

tl::unexpected<error> at_tool(const tool_spec& spec, error problem) {
  problem.where = "tool \"" + spec.name + "\"";
  return tl::unexpected(std::move(problem));
}

} // namespace

policy::request_source request_source_of(const tool_spec& spec) {
  return {spec.method, spec.url, spec.headers, spec.http.body, spec.http.content_type};
}

expected<std::vector<allowed_host>> allowed_hosts_of(const tool_spec& spec, const policy::request_template& request) {
  auto out = parse_allowed_hosts(spec.allow_hosts, spec.allow_private);
  if (!out)
    return out;
  const auto own = target_of(request.origin() + "/");
  if (!own)
    return tl::unexpected(own.error());
  const bool six = own->host.find(':') != std::string::npos;
  auto entry = parse_allowed_hosts({(six ? "[" + own->host + "]" : own->host) + ":" + std::to_string(own->port)}, spec.allow_private);
  if (!entry)
    return entry;
  out->insert(out->begin(), entry->begin(), entry->end());
  return out;
}

expected<std::map<std::string, std::string>> secrets_of(const tool_spec& spec, const environment& shared) {
  std::map<std::string, std::string> out;
  const auto flawed = [](const std::string& name, const std::string& wrong) {
    return "the environment variable " + name + ", which `env_from` names, " + wrong;
  };
  for (const auto& name : spec.env_from) {
    auto value = secret_named(name, shared);
    if (!value)
      return tl::unexpected(value.error());
    if (const auto wrong = flaw_of_key(*value); !wrong.empty())
      return fail(error_code::invalid_argument, flawed(name, wrong));
    out.emplace(name, std::move(*value));
  }
  return out;
}

expected<std::unique_ptr<runner>> make_http_runner(const tool_spec& spec, environment& shared) {
  if (shared.http == nullptr)
    return at_tool(spec, {error_code::invalid_argument, "an HTTP tool needs an HTTP client, and this runtime was started without one", {}});
  auto request = policy::request_template::compile(request_source_of(spec));
  if (!request)
    return at_tool(spec, request.error());
  auto allowed = allowed_hosts_of(spec, *request);
  if (!allowed)
    return at_tool(spec, allowed.error());
  auto secrets = secrets_of(spec, shared);
  if (!secrets)
    return at_tool(spec, secrets.error());
  auto tool = std::make_shared<http_tool>(spec, *shared.http, std::move(*request));
  tool->secrets = std::move(*secrets);
  tool->allowed = std::make_shared<const std::vector<allowed_host>>(std::move(*allowed));
  tool->rules = {
      spec.name, spec.effect, spec.success, spec.http.accept, static_cast<std::size_t>(spec.limits.output_bytes), spec.method == "HEAD"};
  if (spec.success == tool_spec{}.success) // an exit status, which no answer has
    tool->rules.success.clear();
  return std::make_unique<http_runner>(std::move(tool));
}

} // namespace troupe::tools
