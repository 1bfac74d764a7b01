#include "troupe/policy/context_fit.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include "troupe/util/utf8.hpp"

namespace troupe::policy {

namespace {

constexpr std::int64_t message_bytes = 16; ///< what stands around a message or call, as four tokens
constexpr std::int64_t learn_from_tokens = 256;
constexpr std::size_t note_worth_bytes = 120;    ///< a shorter result stays: its note would hardly save anything
constexpr std::int64_t result_bytes_min = 256;   ///< of a shortened result; with less of it a model cannot do anything
constexpr std::int64_t summary_tokens_min = 64;  ///< of one that says anything
constexpr std::int64_t summary_head_tokens = 32; ///< what stands above it
constexpr std::string_view summary_suffix = "/summary";
constexpr std::string_view note_head = "[result removed to make room: ";

std::int64_t scaled(std::int64_t value, std::int64_t by, std::int64_t over) {
  __extension__ using wide = __int128;
  const wide result = (static_cast<wide>(value) * by + over - 1) / over;
  return static_cast<std::int64_t>(std::min<wide>(result, std::numeric_limits<std::int64_t>::max()));
}

bool is_long_result(const message_ptr& message) {
  return message && message->from == role::tool && message->text.size() > note_worth_bytes;
}

message_ptr with_text(const chat_message& message, std::string text) {
  return std::make_shared<const chat_message>(
      chat_message{message.from, std::move(text), message.tool_calls, message.tool_call_id, message.is_error});
}

std::string cut_in_the_middle(std::string_view text, std::size_t keep) {
  const auto head = utf8_prefix(text, keep / 2);
  auto from = text.size() - std::min(text.size() - head.size(), keep - keep / 2);
  while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80)
    ++from;
  return std::string(head) + "\n[" + std::to_string(from - head.size()) + " of " + std::to_string(text.size())
         + " bytes left out: they do not fit the model's context]\n" + std::string(text.substr(from));
}

/// Where the last exchange begins: the last answer, with what came of its calls and what was said since.
std::size_t last_exchange(const conversation& messages, std::size_t opening) {
  for (auto i = messages.size(); i > opening; --i)
    if (messages[i - 1] && messages[i - 1]->from == role::assistant)
      return i - 1;
  return messages.size();
}

std::string name_of_link(const model_spec& model, std::size_t link) {
  return model.chain[link].provider + "/" + model.chain[link].model;
}

/// One look at a conversation that does not fit.
class planner {
public:
  planner(const conversation& messages, const context_facts& facts, const context_state& state, const token_meter& meter)
      : messages_(messages), facts_(facts), state_(state), meter_(meter), total_(meter.tokens(messages)),
        window_(window_of(*facts.model, state.link, facts.max_tokens, state.learned_window)),
        last_(last_exchange(messages, facts.opening)) {}

  context_plan plan() {
    if (window_ == 0 || total_ <= window_)
      return context_fits{};
    if (const auto cut = note_results())
      return *cut;
    const auto shorter = shorten_results(total_);
    if (may_summarise() && (would_fit(after_summary()) || (!shorter && shorten_results(after_summary()))))
      return summary_wanted{cut(context_cut_kind::summarised, after_summary()), summary_tokens()};
    if (const auto over = larger_model())
      return *over;
    if (shorter)
      return *shorter;
    return context_exhausted{why()};
  }

private:
  context_cut cut(context_cut_kind kind, std::int64_t after) const {
    context_cut made;
    made.kind = kind;
    made.step = facts_.step;
    made.model = name_of_link(*facts_.model, state_.link);
    made.window = window_;
    made.refused = facts_.refused;
    made.tokens_before = total_;
    made.tokens_after = after;
    made.messages = static_cast<std::int64_t>(last_ - facts_.opening);
    return made;
  }

  std::optional<context_cut> note_results() const {
    const auto target = static_cast<std::int64_t>(static_cast<double>(window_) * std::clamp(facts_.spec->fill, 0.1, 1.0));
    auto after = total_;
    auto made = cut(context_cut_kind::results_noted, total_);
    made.messages = 0;
    for (auto i = facts_.opening; i < last_ && after > target; ++i)
      if (is_long_result(messages_[i])) {
        const auto& text = messages_[i]->text;
        after -= meter_.tokens_of_bytes(static_cast<std::int64_t>(text.size() - result_note(text.size()).size()));
        made.messages = static_cast<std::int64_t>(i + 1 - facts_.opening);
        ++made.results;
      }
    if (made.results == 0)
      return std::nullopt;
    made.tokens_after = std::max<std::int64_t>(after, 0);
    return made;
  }

  bool may_summarise() const {
    return !facts_.no_summary && state_.summaries < facts_.spec->summaries
           && (state_.last_summary_step == 0 || facts_.step > state_.last_summary_step + 1) && summary_tokens() >= summary_tokens_min;
  }

  std::int64_t tokens_before_last() const {
    std::int64_t sum = 0;
    for (auto i = facts_.opening; i < last_; ++i)
      if (messages_[i])
        sum += meter_.tokens(*messages_[i]);
    return sum;
  }

  std::int64_t summary_tokens() const { return std::min(facts_.spec->summary_tokens, tokens_before_last() / 2); }

  std::int64_t after_summary() const {
    return std::max<std::int64_t>(total_ - tokens_before_last() + summary_tokens() + summary_head_tokens, 0);
  }

  bool would_fit(std::int64_t tokens) const { return tokens <= window_; }

  /// A later model that takes it as it is, else the one that takes most.
  std::optional<context_cut> larger_model() const {
    const auto& chain = facts_.model->chain;
    std::optional<std::size_t> best;
    auto most = window_;
    for (auto i = state_.link + 1; i < chain.size(); ++i) {
      const auto window = window_of(*facts_.model, i, facts_.max_tokens, 0);
      if (window == 0 || window >= total_) {
        best = i;
        break;
      }
      if (window > most) {
        most = window;
        best = i;
      }
    }
    if (!best)
      return std::nullopt;
    auto made = cut(context_cut_kind::failed_over, total_);
    made.messages = 0;
    made.link = static_cast<std::int64_t>(*best);
    return made;
  }

  /// The results of the last exchange, from `total` tokens down to the window: each keeps the same number of bytes, or all that it has.
  std::optional<context_cut> shorten_results(std::int64_t total) const {
    std::vector<std::int64_t> sizes;
    std::int64_t sum = 0;
    for (auto i = last_; i < messages_.size(); ++i)
      if (is_long_result(messages_[i])) {
        sizes.push_back(static_cast<std::int64_t>(messages_[i]->text.size()));
        sum += sizes.back();
      }
    constexpr std::int64_t note_bytes = 80;
    auto room = sum - meter_.bytes_of_tokens(total - window_) - 4 * message_bytes - note_bytes * static_cast<std::int64_t>(sizes.size());
    std::sort(sizes.begin(), sizes.end());
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const auto share = room / static_cast<std::int64_t>(sizes.size() - i);
      if (sizes[i] <= share) {
        room -= sizes[i];
        continue;
      }
      if (share < result_bytes_min || share >= sizes[i] - note_bytes)
        return std::nullopt;
      auto made = cut(context_cut_kind::results_shortened, window_);
      made.keep_bytes = share;
      made.results = static_cast<std::int64_t>(sizes.size() - i);
      return made;
    }
    return std::nullopt;
  }

  bool has_notes() const {
    return std::any_of(messages_.begin(), messages_.end(), [](const message_ptr& message) {
      return message && message->from == role::tool && message->text.starts_with(note_head);
    });
  }

  std::string why() const {
    const auto context = facts_.model->chain[state_.link].context;
    if (context > 0 && facts_.max_tokens >= context)
      return "no request fits the context of model \"" + facts_.model->name + "\": " + name_of_link(*facts_.model, state_.link) + " takes "
             + std::to_string(context) + " tokens, and an answer may have " + std::to_string(facts_.max_tokens)
             + " (max_tokens), which leaves no room; no model after it in the chain has a larger context. Lower max_tokens, or add one.";
    std::string text = "the conversation does not fit the context of model \"" + facts_.model->name + "\": about " + std::to_string(total_)
                       + " tokens, and " + name_of_link(*facts_.model, state_.link) + " takes " + std::to_string(window_)
                       + " beside an answer of " + std::to_string(facts_.max_tokens) + " (max_tokens)";
    text += has_notes() ? ". Its old tool results are notes by now; " : "; ";
    if (state_.summaries >= facts_.spec->summaries)
      text += "it was summarised " + std::to_string(state_.summaries) + (state_.summaries == 1 ? " time" : " times")
              + ", which is what context.summaries allows; ";
    else if (tokens_before_last() == 0)
      text += "nothing in it is old enough to be summarised; ";
    else if (state_.last_summary_step != 0 && facts_.step <= state_.last_summary_step + 1)
      text += "it was summarised for the step before; ";
    else
      text += "a summary would not make it short enough; ";
    return text + "no model after it in the chain has a larger context. Add one, lower max_tokens, or split the task.";
  }

  const conversation& messages_;
  const context_facts& facts_;
  const context_state& state_;
  const token_meter& meter_;
  std::int64_t total_;
  std::int64_t window_;
  std::size_t last_;
};

} // namespace

// --- the estimate --------------------------------------------------------------------------------------------------

token_meter::token_meter(const tool_declarations& tools) {
  if (tools)
    for (const auto& tool : *tools)
      declared_bytes_ += static_cast<std::int64_t>(tool.name.size() + tool.description.size()
                                                   + tool.parameters.dump(-1, ' ', false, json::error_handler_t::replace).size())
                         + message_bytes;
}

std::int64_t token_meter::bytes_of(const conversation& messages) {
  const auto& sums = messages.totals();
  return sums.content_bytes + message_bytes * (static_cast<std::int64_t>(messages.size()) + sums.calls);
}

std::int64_t token_meter::tokens(const chat_message& message) const {
  auto bytes = message_bytes * static_cast<std::int64_t>(1 + message.tool_calls.size()) + static_cast<std::int64_t>(message.text.size());
  for (const auto& call : message.tool_calls)
    bytes += static_cast<std::int64_t>(call.name.size() + call.arguments.size());
  return tokens_of_bytes(bytes);
}

std::int64_t token_meter::tokens_of_bytes(std::int64_t bytes) const {
  return scaled(bytes, stated_, 4 * estimated_);
}

std::int64_t token_meter::bytes_of_tokens(std::int64_t tokens) const {
  return scaled(tokens, 4 * estimated_, stated_);
}

void token_meter::learn(const conversation& messages, std::int64_t stated) {
  const auto estimated = (bytes_of(messages) + declared_bytes_) / 4;
  if (stated <= 0 || estimated < learn_from_tokens)
    return;
  stated_ = std::clamp(stated, estimated, 4 * estimated);
  estimated_ = estimated;
}

// --- decisions -----------------------------------------------------------------------------------------------------

std::int64_t window_of(const model_spec& model, std::size_t link, std::int64_t max_tokens, std::int64_t learned) {
  const auto context = link < model.chain.size() ? model.chain[link].context : 0;
  if (context <= 0)
    return learned;
  const auto window = std::max<std::int64_t>(context - max_tokens, 1);
  return learned > 0 ? std::min(window, learned) : window;
}

std::int64_t learned_window(std::int64_t tokens, bool again) {
  return std::max<std::int64_t>(again ? tokens / 2 : tokens - tokens / 4, 1);
}

context_plan plan_context(const conversation& messages, const context_facts& facts, const context_state& state, const token_meter& meter) {
  return planner(messages, facts, state, meter).plan();
}

std::string result_note(std::size_t bytes) {
  return std::string(note_head) + std::to_string(bytes) + " bytes]";
}

conversation apply_cut(const conversation& behind_opening, const context_cut& cut) {
  const auto count = std::min(behind_opening.size(), static_cast<std::size_t>(std::max<std::int64_t>(cut.messages, 0)));
  const auto border = behind_opening.begin() + static_cast<std::ptrdiff_t>(count);
  conversation out;
  switch (cut.kind) {
  case context_cut_kind::results_noted:
    for (auto it = behind_opening.begin(); it != border; ++it)
      out.push_back(is_long_result(*it) ? with_text(**it, result_note((*it)->text.size())) : *it);
    out.append(border, behind_opening.end());
    return out;
  case context_cut_kind::summarised:
    out.push_back(std::make_shared<const chat_message>(chat_message{role::user, cut.summary, {}, {}, false}));
    out.append(border, behind_opening.end());
    return out;
  case context_cut_kind::results_shortened:
    out.append(behind_opening.begin(), border);
    for (auto it = border; it != behind_opening.end(); ++it) {
      const auto& text = (*it)->text;
      const auto keep = static_cast<std::size_t>(std::max<std::int64_t>(cut.keep_bytes, 0));
      out.push_back(is_long_result(*it) && static_cast<std::int64_t>(text.size()) > cut.keep_bytes
                        ? with_text(**it, cut_in_the_middle(text, keep))
                        : *it);
    }
    return out;
  default:
    return behind_opening;
  }
}

void take_cut(context_state& state, const context_cut& cut) {
  if (cut.refused && cut.kind != context_cut_kind::failed_over)
    state.learned_window = cut.window;
  if (cut.kind == context_cut_kind::summarised) {
    ++state.summaries;
    state.last_summary_step = cut.step;
  } else if (cut.kind == context_cut_kind::failed_over) {
    state.link = static_cast<std::size_t>(std::max<std::int64_t>(cut.link, 0));
    state.learned_window = 0; // of the model before
  }
}

// --- the summarising call ------------------------------------------------------------------------------------------

std::string summary_step(const std::string& step_id) {
  return step_id + std::string(summary_suffix);
}

bool is_summary_step(std::string_view step_id) {
  return step_id.ends_with(summary_suffix);
}

conversation summary_request(const conversation& messages, std::size_t opening, std::size_t count, std::int64_t tokens,
                             const token_meter& meter) {
  constexpr std::string_view system = "You keep the notes of an assistant that works with tools. What it did so far no longer fits its "
                                      "context: your summary takes its place.";
  constexpr std::string_view order =
      "Summarise this conversation for the assistant that goes on with it: what was asked, what was found out (names, numbers and "
      "results as they are), what was tried and failed, what is left to do. Write only the summary.";
  std::vector<std::string> entries;
  const auto end = std::min(messages.size(), opening + count);
  for (std::size_t i = 0; i < end; ++i) {
    if (!messages[i] || messages[i]->from == role::system)
      continue;
    const auto& message = *messages[i];
    const char* who = message.from == role::assistant ? "assistant: " : message.from == role::tool ? "result: " : "user: ";
    auto entry = who + message.text;
    for (const auto& call : message.tool_calls)
      entry += (entry.empty() || entry.back() == ' ' ? "calls " : "\ncalls ") + call.name + "(" + call.arguments + ")";
    entries.push_back(std::move(entry) + "\n");
  }
  // The longest entries give way first: all get the same limit, the largest that fits.
  const auto room = meter.bytes_of_tokens(tokens) - static_cast<std::int64_t>(system.size() + order.size()) - 3 * message_bytes;
  const auto written = [&](std::int64_t limit) {
    std::int64_t sum = 0;
    for (const auto& entry : entries)
      sum += std::min(static_cast<std::int64_t>(entry.size()), limit + 100);
    return sum;
  };
  std::int64_t low = 0, high = std::max<std::int64_t>(room, 0);
  while (low < high) {
    const auto middle = low + (high - low + 1) / 2;
    if (written(middle) <= room)
      low = middle;
    else
      high = middle - 1;
  }
  std::string text(order);
  text += "\n\n";
  for (const auto& entry : entries)
    text += static_cast<std::int64_t>(entry.size()) <= low + 100 ? entry : cut_in_the_middle(entry, static_cast<std::size_t>(low)) + "\n";
  return {std::make_shared<const chat_message>(chat_message{role::system, std::string(system), {}, {}, false}),
          std::make_shared<const chat_message>(chat_message{role::user, std::move(text), {}, {}, false})};
}

} // namespace troupe::policy
