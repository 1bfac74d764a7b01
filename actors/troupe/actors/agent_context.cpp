#include "troupe/actors/agent_context.hpp"

#include <algorithm>

namespace troupe::actors {

namespace {

/// A step whose request was found too long so often, each time after it had been made shorter, has something else wrong with it.
constexpr std::int64_t too_long_times_max = 8;

conversation behind(const conversation& messages, std::size_t opening) {
  return {messages.begin() + static_cast<std::ptrdiff_t>(std::min(opening, messages.size())), messages.end()};
}

} // namespace

agent_context::agent_context(const agent_spec& spec, const configuration& config, policy::token_meter meter, std::size_t opening)
    : spec_(&spec.context), max_tokens_(spec.max_tokens), opening_(opening), meter_(meter) {
  if (const auto model = config.models.find(spec.model); model != config.models.end())
    model_ = &model->second;
}

void agent_context::restore(const policy::task_history& history, const conversation& messages) {
  state_ = {history.link, history.learned_window, history.summaries, history.last_summary_step};
  auto sent = messages.size(); // with the last answered request: all before its answer
  while (sent > opening_ && messages[sent - 1]->from != role::assistant)
    --sent;
  if (sent > opening_)
    meter_.learn({messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(sent - 1)}, history.last_input_tokens);
}

policy::context_state agent_context::seen() const {
  auto state = state_;
  if (step_link_ && *step_link_ != state.link) {
    state.link = *step_link_;
    state.learned_window = step_learned_;
  }
  return state;
}

policy::context_plan agent_context::plan(const conversation& messages, std::int64_t step) const {
  if (!model_)
    return policy::context_fits{}; // the gateway says what is wrong
  return policy::plan_context(messages, {model_, spec_, max_tokens_, opening_, step, refusals_ > 0, no_summary_}, seen(), meter_);
}

void agent_context::take(conversation& messages, const context_cut& cut) {
  const conversation rest = policy::apply_cut(behind(messages, opening_), cut);
  conversation shorter{messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(std::min(opening_, messages.size()))};
  shorter.append(rest);
  messages = std::move(shorter);
  policy::take_cut(state_, cut);
  if (cut.kind == context_cut_kind::failed_over)
    step_link_.reset();
}

void agent_context::write(llm_ask& order) const {
  order.input_tokens = meter_.tokens(order.messages);
  order.first_link = link();
  order.requests_before = requests_;
  order.makes_fit = true;
}

bool agent_context::too_long(const llm_answer& answer, const conversation& messages) {
  if (++too_long_times_ > too_long_times_max)
    return false;
  requests_ = answer.requests;
  if (answer.link != link()) {
    step_link_ = answer.link;
    step_learned_ = 0;
  }
  if (answer.refused)
    (link() == state_.link ? state_.learned_window : step_learned_) = policy::learned_window(meter_.tokens(messages), ++refusals_ > 1);
  return true;
}

void agent_context::answered(const llm_answer& answer, const conversation& messages) {
  meter_.learn(messages, answer.input_tokens);
  step_link_.reset();
  step_learned_ = 0;
  refusals_ = requests_ = too_long_times_ = 0;
  no_summary_ = false;
}

std::string agent_context::name_of_link(std::size_t link) const {
  return model_->chain[link].provider + "/" + model_->chain[link].model;
}

conversation agent_context::summary_of(const conversation& messages, const policy::summary_wanted& wanted) const {
  const auto window = policy::window_of(*model_, link(), wanted.tokens, seen().learned_window);
  return policy::summary_request(messages, opening_, static_cast<std::size_t>(wanted.cut.messages), window, meter_);
}

std::optional<context_cut> agent_context::summarised(const policy::summary_wanted& wanted, const llm_answer& answer) const {
  if (!answer.message || answer.message->text.find_first_not_of(" \t\r\n") == std::string::npos)
    return std::nullopt;
  auto cut = wanted.cut;
  cut.summary = "The conversation so far no longer fitted the model's context. This summary stands for it:\n\n" + answer.message->text;
  cut.tokens_after += meter_.tokens_of_bytes(static_cast<std::int64_t>(cut.summary.size())) - wanted.tokens;
  cut.tokens_after = std::max<std::int64_t>(cut.tokens_after, 0);
  return cut;
}

} // namespace troupe::actors
