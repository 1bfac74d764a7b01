#include "simulation/world.hpp"

#include <stdexcept>

#include "troupe/llm/script_file.hpp"
#include "troupe/policy/history.hpp"
#include "troupe/policy/pricing.hpp"

namespace troupe::simulation {

namespace {

llm::script_ptr script_of(const std::string& file) {
  auto loaded = llm::load_script_file(file);
  if (!loaded)
    throw std::runtime_error(loaded.error().text());
  return *loaded;
}

/// The price of a provider's model, whatever chain names it.
token_price price_of(const configuration& config, const std::string& provider, const std::string& model) {
  for (const auto& [name, spec] : config.models)
    for (const auto& link : spec.chain)
      if (link.provider == provider && link.model == model)
        return link.price;
  return {};
}

} // namespace

world::world(const surroundings& around) : around_(around), model_(script_of(around.script_file)) {}

llm_outcome world::answer(const provider_spec& provider, const llm_request& request) {
  if (++requests > requests_recorded)
    broken.push_back("a request left before its record was durable");
  if (const auto wrong = policy::well_formed(request.messages))
    broken.push_back("a history that is not well formed was sent: message " + std::to_string(wrong->index) + ": " + wrong->what);
  llm_outcome outcome;
  // Without latency in the script the answer comes within the call.
  model_.start(request, [&outcome](llm_outcome came) { outcome = std::move(came); });
  if (const auto* response = std::get_if<llm_response>(&outcome); response != nullptr && response->usage)
    billed += policy::cost(*response->usage, price_of(*around_.config, provider.name, request.model));
  return outcome;
}

tool_outcome world::perform(const tool_spec& tool, const invocation& call) {
  if (++starts_of_call[call.idempotency_key] > 1 && tool.effect == effect::once)
    broken.push_back("tool \"" + tool.name + "\" has effect once and ran again: " + call.idempotency_key);
  if (tool.effect != effect::none && ++effects > effects_recorded)
    broken.push_back("tool \"" + tool.name + "\" ran before its record was durable");
  const auto n = ++starts_of_tool[tool.name];
  const auto work = around_.tools.find(tool.name);
  if (work != around_.tools.end())
    return work->second(call, n);
  tool_outcome done;
  done.output = tool.name + " did " + call.arguments.dump();
  return done;
}

} // namespace troupe::simulation
