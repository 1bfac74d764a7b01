// Providers and models: who answers, in which order, at what price.

#include <algorithm>

#include "troupe/config/resolver.hpp"
#include "troupe/policy/request_template.hpp"
#include "troupe/util/duration.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

bool is_http_url(std::string_view url) {
  return (url.substr(0, 7) == "http://" && url.size() > 7) || (url.substr(0, 8) == "https://" && url.size() > 8);
}

/// What a gateway or a proxy on the way reads.
bool says_where(std::string_view header) {
  const auto is = [header](std::string_view name) {
    return std::equal(name.begin(), name.end(), header.begin(), header.end(),
                      [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b); });
  };
  return is("host") || is("proxy-authorization");
}

void read_price(const view& from, token_price& into) {
  if (!from.present())
    return;
  into.known = true;
  if (!from.is_object())
    return; // `free`
  const auto per_mtok = [](const view& part, std::int64_t fallback) {
    usd amount{fallback};
    part.read(amount);
    if (part.present() && amount.micro > 1'000'000LL * 1'000'000)
      part.wrong("more than a million dollars for a million tokens");
    return amount.micro;
  };
  into.input = per_mtok(from["input"], 0);
  into.cached_input = per_mtok(from["cached_input"], into.input);
  into.cache_write = per_mtok(from["cache_write"], into.input);
  into.output = per_mtok(from["output"], 0);
  if (const auto above = from["above"]; above.present()) {
    above["tokens"].read(into.above_tokens);
    into.above_input = per_mtok(above["input"], into.input);
    into.above_output = per_mtok(above["output"], into.output);
  }
}

} // namespace

void resolver::providers() {
  root_["providers"].each_member([&](const std::string& name, const view& from) {
    auto& into = out_.providers[name];
    into.name = name;
    from["kind"].read(into.kind);
    const auto base_url = from["base_url"];
    base_url.read(into.base_url);
    if (base_url.is_string() && !is_http_url(into.base_url))
      base_url.wrong(base_url.shown() + " is no address; it begins with http:// or https://");
    else if (into.base_url.find('#') != std::string::npos)
      base_url.wrong("a fragment (#) is never sent; leave it out");
    while (!into.base_url.empty() && into.base_url.back() == '/' && into.base_url.find('?') == std::string::npos)
      into.base_url.pop_back();
    if (into.base_url.empty() && into.kind == provider_kind::openai)
      into.base_url = "https://api.openai.com/v1";
    if (into.base_url.empty() && into.kind == provider_kind::anthropic)
      into.base_url = "https://api.anthropic.com";
    from["api_key_env"].read(into.api_key_env);
    from["timeout"].read_positive(into.timeout);
    from["stream"].read(into.stream);
    from["proxy"].read(into.proxy);
    from["max_tokens_field"].read(into.max_tokens_field);
    from["headers"].read(into.headers);
    for (const auto& [header, value] : into.headers)
      if (value.find_first_of("\r\n") != std::string::npos)
        from["headers"][header].wrong("a header cannot hold a line break");
      else if (policy::is_reserved_header(header) && !says_where(header))
        from["headers"][header].wrong("it belongs to the transfer and cannot be set here");
    const auto script = from["script"];
    script.read_path(into.script);
    if (!into.script.empty() && in_.is_readable && !in_.is_readable(into.script))
      script.wrong("no readable file " + script.shown() + "; it is looked for at " + in_quotes(into.script));
  });
}

void resolver::models() {
  root_["models"].each_member([&](const std::string& name, const view& from) {
    auto& into = out_.models[name];
    into.name = name;
    from["chain"].each_element([&](std::size_t, const view& link) {
      auto& made = into.chain.emplace_back();
      link["provider"].read(made.provider);
      const auto provider = out_.providers.find(made.provider);
      if (provider == out_.providers.end())
        unknown(link["provider"], "provider", out_.providers);
      link["model"].read(made.model);
      link["context"].read(made.context);
      link["reasoning_effort"].read(made.reasoning_effort);
      read_price(link["usd_per_mtok"], made.price);
      if (provider == out_.providers.end())
        return;
      if (provider->second.kind != provider_kind::openai && link["reasoning_effort"].present())
        link["reasoning_effort"].wrong("only a provider of kind openai takes it; take it out");
      const bool scripted = provider->second.kind == provider_kind::scripted;
      if (scripted) {
        made.price.known = true;
        if (made.model.empty())
          made.model = "scripted";
      } else if (made.model.empty() && !link["model"].present()) {
        link.wrong_key("the model is missing; add model: and the provider's name for it");
      }
    });
    const auto retry = from["retry"];
    retry["attempts"].read(into.retry.attempts);
    retry["base"].read_positive(into.retry.base);
    retry["cap"].read_positive(into.retry.cap);
    if (into.retry.cap < into.retry.base)
      retry[retry["cap"].present() ? "cap" : "base"].wrong("the longest pause (cap, " + format_duration(into.retry.cap)
                                                           + ") is shorter than the first (base, " + format_duration(into.retry.base)
                                                           + ")");
    from["breaker"]["failures"].read(into.breaker.failures);
    from["breaker"]["open_for"].read_positive(into.breaker.open_for);
    const auto after = from["hedge"]["after"];
    std::string word;
    after.read(word);
    if (word == "p95") {
      into.hedge.after = hedge_after::p95;
    } else if (after.present()) {
      into.hedge.after = hedge_after::time;
      after.read_positive(into.hedge.time);
    }
  });
}

namespace {

/// Each agent asks for answers and summaries of its own size.
void room_beside_answers(const agent_spec& agent, std::int64_t context, const view& at) {
  if (agent.max_tokens >= context)
    at.warn("answers of agent " + in_quotes(agent.name) + " (max_tokens " + std::to_string(agent.max_tokens)
            + ") leave no room for a request in " + std::to_string(context) + " tokens");
  else if (agent.context.summaries > 0 && agent.context.summary_tokens > (context - agent.max_tokens) / 2)
    at.warn("summaries of agent " + in_quotes(agent.name) + " (context.summary_tokens " + std::to_string(agent.context.summary_tokens)
            + ") would fill half of what a request may have, " + std::to_string(context - agent.max_tokens) + " tokens or more");
}

} // namespace

/// Every run has a USD limit, so that every model which an agent uses needs a price (SEMANTICS 3).
void resolver::prices() {
  std::map<std::string, std::string> used; // model -> an agent that uses it
  for (const auto& [name, agent] : out_.agents)
    used.emplace(agent.model, name);
  for (const auto& [name, model] : out_.models) {
    const auto user = used.find(name);
    if (user == used.end())
      continue;
    for (std::size_t i = 0; i < model.chain.size(); ++i) {
      const auto& link = model.chain[i];
      const auto at = root_["models"][name]["chain"].element(i);
      if (!link.price.known && out_.providers.count(link.provider) > 0)
        at.wrong("no price for the model " + in_quotes(link.model)
                 + ", and every run has a USD limit; add usd_per_mtok: { input: …, output: … }, or usd_per_mtok: free if it costs nothing");
      for (const auto& [user_name, agent] : out_.agents)
        if (agent.model == name && link.context > 0)
          room_beside_answers(agent, link.context, at["context"]);
    }
  }
}

} // namespace troupe::config
