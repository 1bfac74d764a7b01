#include "troupe/policy/answer_quality.hpp"

#include "troupe/model/described.hpp"
#include "troupe/policy/context_fit.hpp"
#include "troupe/policy/json_in_text.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::policy {

namespace {

constexpr std::size_t check_text_bytes = 4'000; ///< of what a command says, for the agent and the journal

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const auto& word : words)
    all += (all.empty() ? "" : "; ") + word;
  return all;
}

std::string listed(const std::vector<std::string>& words) {
  std::string all;
  for (const auto& word : words)
    all += "- " + word + "\n";
  return all;
}

quality_commands one(quality_command command, std::vector<event_body> before = {}) {
  quality_commands commands;
  if (!before.empty())
    commands.emplace_back(record_quality{std::move(before)});
  commands.push_back(std::move(command));
  return commands;
}

std::string text_of(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// What the contract says, for a reviewer.
std::string words_of(const output_spec& rules) {
  json shown = json::object();
  if (!rules.schema.is_null())
    shown["schema"] = rules.schema;
  if (rules.min_length)
    shown["min_length"] = *rules.min_length;
  if (rules.max_length)
    shown["max_length"] = *rules.max_length;
  if (!rules.matches.empty())
    shown["matches"] = rules.matches;
  if (!rules.not_matches.empty())
    shown["not_matches"] = rules.not_matches;
  if (!rules.must_mention.empty())
    shown["must_mention"] = rules.must_mention;
  if (!rules.command.empty())
    shown["command"] = rules.command;
  return shown.dump(2, ' ', false, json::error_handler_t::replace);
}

/// A command's own words, or what became of it.
std::string said_by(const tool_outcome& outcome) {
  auto text = std::string(utf8_prefix(outcome.output, check_text_bytes));
  while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
    text.pop_back();
  if (outcome.status == tool_status::failed && !text.empty())
    return text;
  return outcome.error.empty() ? "it exits with " + std::to_string(outcome.exit_status) + " and says nothing"
                               : std::string(utf8_prefix(outcome.error, check_text_bytes));
}

} // namespace

std::optional<schema::violation> cut_off_by(finish_reason finish, std::int64_t max_tokens) {
  switch (finish) {
  case finish_reason::stop:
  case finish_reason::tool_calls:
    return std::nullopt;
  case finish_reason::length:
    return schema::violation{"", "max_tokens", "the answer was cut off at " + std::to_string(max_tokens) + " tokens; say it more briefly"};
  case finish_reason::content_filter:
    return schema::violation{"", "content_filter",
                             "the answer was refused or cut off by the provider's content filter; say what you can say without that"};
  case finish_reason::other:
    break;
  }
  return schema::violation{"", "finish_reason", "the answer ended for a reason that is not known here, and may be cut off; say all of it"};
}

output_spec review_contract(std::int64_t retries) {
  output_spec made;
  made.schema = json::parse(R"({
    "type": "object",
    "properties": {
      "verdict": { "enum": ["pass", "revise", "reject"] },
      "feedback": { "type": "string" },
      "revised_output": {}
    },
    "required": ["verdict"]
  })");
  made.retries = retries;
  return made;
}

answer_quality::answer_quality(const output_spec* rules, std::optional<contract> must_hold, std::int64_t attempt, std::string instruction)
    : rules_(rules), must_hold_(std::move(must_hold)), attempt_(attempt), instruction_(std::move(instruction)) {
  // nop
}

void answer_quality::restore(const std::vector<event_ptr>& events, std::int64_t repairs) {
  repairs_ = repairs;
  reviews_ = 0;
  known_ = {};
  text_.clear();
  bool current = false;
  std::string_view last_step, within;
  for (const auto& e : events) {
    if (const auto* started = std::get_if<task_started>(&e->body)) {
      current = started->attempt == attempt_;
      if (const std::string_view now = started->within ? std::string_view(*started->within) : std::string_view(); now != within) {
        within = now; // another attempt of a task above: nothing of it was said yet
        reviews_ = 0;
        known_ = {};
        text_.clear();
        last_step = {};
      }
    } else if (!current) {
      continue;
    } else if (const auto* response = std::get_if<llm_responded>(&e->body)) {
      known_ = {}; // another answer
      if (response->message && response->step_id != last_step && !is_summary_step(response->step_id)) {
        last_step = response->step_id; // of two answers to one step the first counts
        if (response->message->tool_calls.empty())
          text_ = response->message->text;
      }
    } else if (std::holds_alternative<message_injected>(e->body)) {
      known_ = {}; // it was dealt with
    } else if (const auto* check = std::get_if<output_checked>(&e->body)) {
      known_.check = std::make_unique<output_checked>(*check);
    } else if (const auto* broken = std::get_if<contract_violated>(&e->body)) {
      known_.given_up = known_.given_up || broken->repair == 0;
    } else if (const auto* review = std::get_if<output_reviewed>(&e->body)) {
      ++reviews_;
      known_.review = std::make_unique<output_reviewed>(*review);
      known_.check.reset();
    }
  }
}

quality_commands answer_quality::answered(const std::string& text, std::int64_t step, std::optional<schema::violation> cut_off) {
  text_ = text;
  step_ = step;
  stage_ = stage::answer;
  review_ = {};
  if (!cut_off)
    return judge(text, stage::answer);
  output_ = nullptr;
  return fails({*cut_off});
}

quality_commands answer_quality::judge(const std::string& text, stage of) {
  stage_ = of;
  contract_verdict verdict;
  if (must_hold_)
    verdict = must_hold_->check(text);
  else
    verdict.output = text;
  if (!verdict.accepted())
    return fails(verdict.violations);
  output_ = std::move(verdict.output);
  if (!rules_ || rules_->command.empty())
    return holds();
  judged_ = text_of(output_);
  const auto recorded = std::exchange(known_.check, nullptr);
  if (recorded && recorded->step == (of == stage::answer ? step_ : 0)) // it was seen before a crash
    return recorded->holds ? holds() : fails({{"", "command", recorded->text}});
  return one(run_check{judged_});
}

quality_commands answer_quality::checked(const tool_outcome& outcome, std::int64_t duration_us) {
  if (outcome.status != tool_status::ok && outcome.status != tool_status::failed)
    return one(
        end_answer{task_status::error, "contract_command", "the contract's command gave no verdict: " + said_by(outcome), as_it_is(), {}});
  const bool good = outcome.status == tool_status::ok;
  const auto said = good ? std::string{} : said_by(outcome);
  quality_commands commands{record_quality{{output_checked{stage_ == stage::answer ? step_ : 0, good, said, duration_us}}}};
  auto next = good ? holds() : fails({{"", "command", said}});
  commands.insert(commands.end(), std::make_move_iterator(next.begin()), std::make_move_iterator(next.end()));
  return commands;
}

quality_commands answer_quality::holds() {
  return one(end_answer{.output = output_});
}

quality_commands answer_quality::fails(const std::vector<schema::violation>& violations) {
  std::vector<std::string> words;
  words.reserve(violations.size());
  for (const auto& broken : violations)
    words.push_back((broken.pointer.empty() ? "" : broken.pointer + ": ") + broken.message + " (" + broken.rule + ")");
  if (stage_ == stage::modification) {
    const auto all = joined(words);
    return give_up("rejected", "the output as it was modified does not hold: " + all, {});
  }
  violations_ = words;
  if (stage_ == stage::revision)
    return revision_failed({});
  if (known_.given_up || repairs_ >= (rules_ ? rules_->retries : output_spec{}.retries)) {
    if (std::exchange(known_.given_up, false))
      return exhausted({});
    return exhausted({contract_violated{0, std::move(words)}});
  }
  auto feedback = feedback_text(violations, must_hold_ && must_hold_->expects_json());
  ++repairs_;
  std::vector<event_body> recorded{contract_violated{repairs_, words}, message_injected{feedback, "contract"}};
  return one(repair_answer{std::move(words), std::move(feedback), std::move(recorded)});
}

quality_commands answer_quality::repeats(std::vector<event_body> seen, std::int64_t times) {
  --repairs_; // it was not asked again
  seen.emplace_back(contract_violated{0, violations_});
  violations_.push_back("it was given " + std::to_string(times) + " times");
  return exhausted(std::move(seen));
}

quality_commands answer_quality::exhausted(std::vector<event_body> before) {
  if (rules_ && !rules_->reviewer.empty()) {
    if (const auto review = std::exchange(known_.review, nullptr)) // it was given before a crash
      return after_review(*review, std::move(before));
    if (reviews_ < reviews_max) {
      std::string text = "Review the output of an agent whose answers do not fulfil their contract.\n\nIts task:\n" + instruction_
                         + "\n\nThe contract:\n" + words_of(*rules_) + "\n\nIts last answer:\n" + text_ + "\n\nWhat is wrong with it:\n"
                         + listed(violations_)
                         + "\nverdict \"pass\": the answer is good enough as it is. \"revise\": put a corrected output that fulfils the "
                           "contract into revised_output,"
                           " or say in feedback what the agent must change. \"reject\": it cannot be used; say why in feedback.";
      return one(ask_reviewer{rules_->reviewer, (attempt_ - 1) * reviews_max + reviews_ + 1, std::move(text)}, std::move(before));
    }
  }
  return to_person("contract", "the answer does not hold: " + joined(violations_), std::move(before));
}

quality_commands answer_quality::reviewed(const review_outcome& outcome) {
  if (outcome.status == task_status::budget_exceeded || outcome.status == task_status::timeout || outcome.status == task_status::cancelled)
    return one(end_answer{outcome.status, outcome.reason, "its review: " + outcome.error, as_it_is(), outcome.limit_scope});
  output_reviewed review{++reviews_, rules_->reviewer, review_verdict::reject, {}, nullptr, {}};
  if (outcome.status != task_status::success) {
    review.error = outcome.error.empty() ? outcome.reason : outcome.error;
  } else if (!outcome.output.is_object()) {
    review.error = "it said nothing";
  } else {
    review.verdict = enum_named<review_verdict>(outcome.output.value("verdict", "")).value_or(review_verdict::reject);
    review.feedback = outcome.output.value("feedback", "");
    if (const auto revised = outcome.output.find("revised_output"); revised != outcome.output.end())
      review.revised_output = *revised;
  }
  return after_review(review, {review});
}

quality_commands answer_quality::after_review(const output_reviewed& review, std::vector<event_body> before) {
  review_ = review;
  if (review.verdict == review_verdict::pass)
    return one(end_answer{.output = as_it_is()}, std::move(before));
  if (review.verdict == review_verdict::reject)
    return to_person("review",
                     review.error.empty() ? "its reviewer rejected it" + (review.feedback.empty() ? "" : ": " + review.feedback)
                                          : "its reviewer brought no verdict: " + review.error,
                     std::move(before));
  if (review.revised_output.is_null()) {
    violations_.clear();
    return revision_failed(std::move(before));
  }
  quality_commands commands;
  if (!before.empty())
    commands.emplace_back(record_quality{std::move(before)});
  auto next = judge(text_of(review.revised_output), stage::revision);
  commands.insert(commands.end(), std::make_move_iterator(next.begin()), std::make_move_iterator(next.end()));
  return commands;
}

/// The reviewer wants another output and gave none that holds: the agent gets its words, once.
quality_commands answer_quality::revision_failed(std::vector<event_body> before) {
  const auto why = violations_.empty() ? std::string{} : "Its own suggestion does not fulfil the contract either:\n" + listed(violations_);
  if (reviews_ >= reviews_max)
    return to_person("review", "its reviewer still wants it revised" + (review_.feedback.empty() ? "" : ": " + review_.feedback),
                     std::move(before));
  auto text = "A reviewer has read your answer and wants it revised" + (review_.feedback.empty() ? "." : ": " + review_.feedback) + "\n"
              + why + "Answer again, with the whole answer.";
  before.emplace_back(message_injected{text, "review"});
  return one(pass_feedback{std::move(text)}, std::move(before));
}

quality_commands answer_quality::to_person(std::string reason, std::string error, std::vector<event_body> before) {
  if (!rules_ || !rules_->human)
    return give_up(std::move(reason), std::move(error), std::move(before));
  auto rules = *rules_;
  rules.reviewer.clear();
  json details{{"why", std::move(error)}, {"violations", violations_}, {"contract", to_document(rules)}};
  if (!review_.reviewer.empty())
    details["review"] = {{"reviewer", review_.reviewer}, {"verdict", name_of(review_.verdict)}, {"feedback", review_.feedback}};
  return one(ask_person{as_it_is(), std::move(details)}, std::move(before));
}

quality_commands answer_quality::decided(const person_outcome& outcome) {
  if (outcome.status == approval_status::approved)
    return one(end_answer{.output = as_it_is()});
  if (outcome.status == approval_status::modified)
    return judge(text_of(outcome.modified), stage::modification);
  return give_up("rejected",
                 outcome.by_human ? outcome.reviewer + " rejected the output" + (outcome.comment.empty() ? "" : ": " + outcome.comment)
                                  : outcome.comment,
                 {});
}

quality_commands answer_quality::give_up(std::string reason, std::string error, std::vector<event_body> before) {
  return one(end_answer{task_status::quality_failed, std::move(reason), std::move(error), as_it_is(), {}}, std::move(before));
}

json answer_quality::left() const {
  return text_.empty() ? json() : as_it_is();
}

json last_answer(const output_spec* rules, const std::vector<event_ptr>& events_of_task, std::int64_t attempt) {
  std::optional<contract> must_hold;
  if (rules)
    if (auto compiled = contract::compile(*rules))
      must_hold = std::move(*compiled);
  answer_quality quality(rules, std::move(must_hold), attempt, {});
  quality.restore(events_of_task, 0);
  return quality.left();
}

/// The agent's last answer: its JSON where JSON is wanted and there is some, else its text.
json answer_quality::as_it_is() const {
  if (must_hold_ && must_hold_->expects_json())
    if (auto found = json_in_text(text_))
      return std::move(found->value);
  return is_valid_utf8(text_) ? json(text_) : json(mended_utf8(text_));
}

} // namespace troupe::policy
