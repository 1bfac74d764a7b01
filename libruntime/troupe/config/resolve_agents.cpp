// Agents and their contracts.

#include "troupe/config/resolver.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

/// The agents of the circle of reviewers that this one is the first of, by name.
std::string review_circle(const std::map<std::string, agent_spec>& agents, const std::string& from) {
  std::string words = in_quotes(from);
  auto at = from;
  for (std::size_t steps = 0; steps <= agents.size(); ++steps) {
    const auto agent = agents.find(at);
    if (agent == agents.end() || !agent->second.output || agent->second.output->reviewer.empty())
      return {};
    at = agent->second.output->reviewer;
    if (at == from)
      return words;
    if (at < from)
      return {}; // told of that one, if there is a circle
    words += " and " + in_quotes(at);
  }
  return {};
}

} // namespace

void resolver::agents() {
  root_["agents"].each_member([&](const std::string& name, const view& from) {
    auto& into = out_.agents[name];
    into.name = name;
    from["model"].read(into.model);
    if (from["model"].is_string() && out_.models.count(into.model) == 0)
      unknown(from["model"], "model", out_.models);
    from["system"].read(into.system);
    from["description"].read(into.description);
    agent_tools(from, into);
    from["temperature"].read(into.temperature);
    from["max_tokens"].read(into.max_tokens);
    if (from["timeout"].present()) {
      into.timeout = milliseconds{1};
      from["timeout"].read_positive(into.timeout);
    }
    from["crashes"].read(into.crashes);
    from["loop"]["repeats"].read(into.loop.repeats);
    from["loop"]["window"].read(into.loop.window);
    from["loop"]["human"].read(into.loop.human);
    if (into.loop.window < into.loop.repeats)
      from["loop"][from["loop"]["window"].present() ? "window" : "repeats"].wrong(
          "a window of " + std::to_string(into.loop.window) + " calls cannot hold " + std::to_string(into.loop.repeats) + " repeats");
    from["context"]["summaries"].read(into.context.summaries);
    from["context"]["summary_tokens"].read(into.context.summary_tokens);
    from["context"]["fill"].read(into.context.fill);
    limits_of(from["budget"], into.budget);
    if (from["output"].is_object())
      output(from["output"], into.output.emplace());
  });
  // Reviewers may stand behind those whom they review.
  for (const auto& [name, agent] : out_.agents) {
    if (!agent.output || agent.output->reviewer.empty())
      continue;
    const auto reviewer = root_["agents"][name]["output"]["reviewer"];
    if (out_.agents.count(agent.output->reviewer) == 0)
      unknown(reviewer, "agent", out_.agents);
    else if (agent.output->reviewer == name)
      reviewer.wrong("an agent cannot review itself; name another one");
    else if (const auto circle = review_circle(out_.agents, name); !circle.empty())
      reviewer.wrong(circle + " review each other in a circle: each would wait for the other; leave one reviewer out");
    else if (const auto& asked = out_.agents.at(agent.output->reviewer); !asked.delegates.empty() || !asked.handoffs.empty())
      reviewer.warn("agent " + in_quotes(asked.name) + " asks no other agents and hands nothing on while it reviews: a verdict is its own");
  }
}

void resolver::output(const view& from, output_spec& into) {
  schema(from["schema"], into.schema);
  from["min_length"].read(into.min_length);
  from["max_length"].read(into.max_length);
  if (into.min_length && into.max_length && *into.min_length > *into.max_length)
    from["min_length"].wrong("min_length (" + std::to_string(*into.min_length) + ") is more than max_length ("
                             + std::to_string(*into.max_length) + ")");
  pattern(from["matches"], into.matches);
  pattern(from["not_matches"], into.not_matches);
  from["must_mention"].read(into.must_mention);
  from["command"].read(into.command);
  if (!into.command.empty() && into.command.front().empty())
    from["command"].element(0).wrong("the program's name is empty");
  from["retries"].read(into.retries);
  from["reviewer"].read(into.reviewer);
  from["human"].read(into.human);
}

} // namespace troupe::config
