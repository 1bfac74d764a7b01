// One token of each model.

#include <future>
#include <map>
#include <set>

#include "doctor.hpp"
#include "troupe/llm/provider_factory.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/llm_errors.hpp"
#include "troupe/policy/pricing.hpp"
#include "troupe/util/clock.hpp"

namespace troupe::cli {

namespace {

constexpr std::chrono::milliseconds answer_within{30'000};

llm_request request_of(const model_trial& trial, const provider_spec& provider) {
  llm_request out;
  out.model = trial.model;
  out.agent = "doctor";
  chat_message question;
  question.text = "Answer with one word.";
  out.messages.push_back(std::make_shared<const chat_message>(std::move(question)));
  out.max_tokens = 1;
  out.stream = provider.stream;
  out.timeout = std::min(provider.timeout, answer_within);
  return out;
}

policy::request_bounds bounds_of(const llm::provider& provider, const llm_request& request) {
  return {provider.input_token_bound(request), request.max_tokens};
}

/// Without its user and its query, which may be secrets.
std::string bare_url(const std::string& url) {
  auto out = url.substr(0, url.find('?'));
  const auto authority = out.find("://");
  const auto at = out.find('@');
  if (authority != std::string::npos && at != std::string::npos && at < out.find('/', authority + 3))
    out.erase(authority + 3, at - authority - 2);
  return out;
}

/// As a run charges it.
usd cost_of(const model_trial& trial, const llm::provider& provider, const llm_request& request, const llm_outcome& outcome) {
  const auto bounds = bounds_of(provider, request);
  if (const auto* response = std::get_if<llm_response>(&outcome))
    return policy::charge_for(*response, provider.input_token_estimate(request), bounds, trial.price).money;
  const auto& failure = std::get<llm_failure>(outcome);
  return policy::charge_for(failure, policy::may_have_been_charged(failure), bounds, trial.price).money;
}

std::string advice_of(const llm_failure& failure, const provider_spec& provider) {
  switch (failure.kind) {
  case llm_failure_kind::connection:
    return failure.sent ? "see whether the service is well"
                        : "see whether " + bare_url(provider.base_url) + " is right and can be reached from here";
  case llm_failure_kind::timeout:
    return "see whether the service is well, or give the provider a longer timeout";
  case llm_failure_kind::truncated:
  case llm_failure_kind::malformed:
    return "see whether base_url leads to an API of kind " + std::string(name_of(provider.kind));
  case llm_failure_kind::status:
    break;
  default:
    return {}; // what cannot be sent says itself what to mend
  }
  if (policy::refuses_limit_field(failure))
    return "set the provider's max_tokens_field to the other one, max_tokens or max_completion_tokens";
  const int status = failure.http_status;
  if (status >= 300 && status < 400)
    return "no redirect is followed: set base_url, which is " + bare_url(provider.base_url) + ", to the address that the service has now";
  switch (status) {
  case 401:
  case 403:
    return provider.api_key_env.empty() ? "name the variable with the key: api_key_env"
                                        : "see whether the key in " + provider.api_key_env + " is valid and may use this model";
  case 404:
    return "see whether the model's name is right, and base_url, which is " + bare_url(provider.base_url);
  case 429:
    return "wait, or see the account's limits and credit";
  case 402:
    return "see the account's credit";
  case 407:
    return "the proxy wants a login: write it into proxy, as in http://USER:PASSWORD@HOST:PORT";
  case 408:
  case 409:
  case 425:
    return "see whether the service is well; a run would retry and fail over";
  default:
    return status >= 500
               ? "see whether the service is well; a run would retry and fail over"
               : "the service's own words say what it does not take; see whether base_url, which is " + bare_url(provider.base_url)
                     + ", leads to an API of kind " + std::string(name_of(provider.kind)) + ", and whether the model's name is right";
  }
}

/// Whether the service works, whatever it says: an answer that was cut after one token is one.
bool answered(const llm_failure& failure) {
  return failure.kind == llm_failure_kind::empty || policy::thought_all_the_way(failure);
}

finding row_of(const model_trial& trial, const provider_spec& provider, const llm_outcome& outcome, std::int64_t took_us, bool in_use,
               usd cost) {
  finding out{"model", trial.provider + " " + trial.model, health::ok, {}, {}};
  const auto time = std::to_string(took_us / 1'000) + " ms";
  const auto* failure = std::get_if<llm_failure>(&outcome);
  if (failure == nullptr || answered(*failure)) {
    out.seen = "answers, after " + time + (cost.micro > 0 ? ", for " + to_string(cost) : "");
    return out;
  }
  const auto words = std::string(name_of(failure->kind)) + (failure->http_status > 0 ? " " + std::to_string(failure->http_status) : "")
                     + (failure->message.empty() ? "" : ": " + failure->message);
  if (provider.kind == provider_kind::scripted) { // it does what its file says, and the file was read
    out.seen = "its script is read; this question has no answer in it (" + std::string(name_of(failure->kind)) + ")";
    return out;
  }
  out.state = in_use ? health::fail : health::warn;
  out.seen = words;
  out.todo = advice_of(*failure, provider);
  return out;
}

struct made_provider {
  const provider_spec* spec = nullptr;
  std::shared_ptr<llm::provider> use;
};

expected<made_provider> make(doctor_kit& kit, const std::string& name) {
  const auto& spec = kit.config.providers.at(name);
  const auto key = llm::read_api_key(spec);
  if (!key)
    return tl::unexpected(key.error());
  auto made = llm::make_provider(spec, kit.http, *key);
  if (!made)
    return tl::unexpected(made.error());
  return made_provider{&spec, std::move(*made)};
}

} // namespace

std::vector<model_trial> plan_models(doctor_kit& kit, findings& unusable) {
  std::vector<model_trial> out;
  std::set<std::pair<std::string, std::string>> seen;
  for (const auto& [name, model] : kit.config.models)
    for (const auto& link : model.chain) {
      if (!seen.emplace(link.provider, link.model).second)
        continue;
      const auto provider = make(kit, link.provider);
      if (!provider) {
        const auto& variable = kit.config.providers.at(link.provider).api_key_env;
        unusable.push_back(
            {"model",
             link.provider + " " + link.model,
             kit.used.providers.count(link.provider) > 0 ? health::fail : health::warn,
             provider.error().code == error_code::not_found ? "not tried: " + variable + " is not set" : provider.error().message,
             {}});
        continue;
      }
      model_trial trial{link.provider, link.model, link.price, provider->spec->kind == provider_kind::scripted, {}};
      trial.at_most = policy::worst_case(bounds_of(*provider->use, request_of(trial, *provider->spec)), trial.price);
      trial.free = trial.free || (trial.price.known && trial.at_most.micro == 0);
      out.push_back(std::move(trial));
    }
  return out;
}

findings try_models(doctor_kit& kit, const std::vector<model_trial>& trials, usd& spent) {
  struct running {
    const model_trial* trial;
    made_provider provider;
    llm_request request;
    std::future<std::pair<llm_outcome, std::int64_t>> outcome;
  };
  std::vector<running> all;
  for (const auto& trial : trials) {
    auto provider = make(kit, trial.provider);
    if (!provider)
      continue; // it was made before, and said so
    running one{&trial, *provider, request_of(trial, *provider->spec), {}};
    auto promise = std::make_shared<std::promise<std::pair<llm_outcome, std::int64_t>>>();
    one.outcome = promise->get_future();
    one.provider.use->start(one.request, [promise, began = monotonic_now()](llm_outcome outcome) {
      const auto took = std::chrono::duration_cast<std::chrono::microseconds>(monotonic_now() - began).count();
      promise->set_value({std::move(outcome), took});
    });
    all.push_back(std::move(one));
  }
  findings out;
  for (auto& each : all) {
    const auto [outcome, took] = each.outcome.get();
    const auto cost = cost_of(*each.trial, *each.provider.use, each.request, outcome);
    spent += cost;
    out.push_back(row_of(*each.trial, *each.provider.spec, outcome, took, kit.used.providers.count(each.trial->provider) > 0, cost));
  }
  return out;
}

} // namespace troupe::cli
