#include "troupe/llm/script.hpp"

#include <algorithm>
#include <cmath>

#include "troupe/llm/script_data.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::llm {

using namespace detail;

namespace {

constexpr std::size_t most_tool_calls = 128;

bool holds(const condition& when, const request_view& view) {
  if (when.turn && *when.turn != view.turn())
    return false;
  if (when.model && *when.model != view.model)
    return false;
  if (when.agent && !view.is_from(*when.agent))
    return false;
  if (when.has_tool_result || when.tool_result_of) {
    bool found = false;
    for (const auto& message : view.all())
      found = found || (message.from == role::tool && (!when.tool_result_of || message.tool == *when.tool_result_of));
    if (found != when.has_tool_result.value_or(true))
      return false;
  }
  if (when.last && !RE2::PartialMatch(re2::StringPiece(view.last().data(), view.last().size()), *when.last))
    return false;
  if (when.contains) {
    bool found = view.system.find(*when.contains) != std::string_view::npos;
    for (const auto& message : view.all())
      found = found || message.text.find(*when.contains) != std::string_view::npos;
    if (!found)
      return false;
  }
  return true;
}

std::string generated_id(std::uint64_t fingerprint, std::size_t index) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string id = "call_";
  const auto hash = stable_hash({}, fingerprint + index);
  for (int shift = 60; shift >= 0; shift -= 4)
    id.push_back(digits[(hash >> shift) & 15]);
  return id;
}

std::string arguments_of(const planned_call& call, render_scope& scope) {
  if (!call.constant_arguments.empty())
    return scope.budget.take_output(call.constant_arguments.size()) ? call.constant_arguments : std::string();
  if (call.is_raw) {
    std::string out;
    detail::render(call.raw_arguments, scope, out);
    return out;
  }
  const auto out = text_of(detail::render(call.arguments, scope));
  return scope.budget.take_output(out.size()) ? out : std::string();
}

/// Adds the calls that one planned call makes. False when there are too many.
bool add_calls(const planned_call& call, render_scope& scope, std::vector<tool_call>& calls) {
  const auto add = [&] {
    if (calls.size() == most_tool_calls)
      return false;
    calls.push_back({call.id, call.name, arguments_of(call, scope)});
    return true;
  };
  if (!call.for_each)
    return add();
  const auto list = evaluate(*call.for_each, scope);
  const auto size = list.is_array() ? list.size() : list.is_null() ? 0u : 1u;
  for (std::size_t i = 0; i < size; ++i) {
    scope.loops.push_back({"item", list.is_array() ? &list[i] : &list, i});
    const bool added = add();
    scope.loops.pop_back();
    if (!added)
      return false;
  }
  return true;
}

} // namespace

script::script(std::unique_ptr<script_data> data) : data_(std::move(data)) {}
script::~script() = default;

std::size_t script::rule_count() const {
  return data_->rules.size();
}

std::optional<script::matched> script::match(const request_view& view) const {
  for (std::size_t i = 0; i < data_->rules.size(); ++i) {
    const auto& rule = data_->rules[i];
    if (!holds(rule.when, view))
      continue;
    matched found{i, nullptr};
    bool complete = true;
    for (const auto& capture : rule.captures) {
      auto value = take(capture, view);
      complete = !capture.required || !value.is_null();
      if (!complete)
        break;
      found.captured[capture.name] = std::move(value);
    }
    if (complete)
      return found;
  }
  return std::nullopt;
}

std::optional<fault> script::take_fault(const matched& found, bool in_process) const {
  for (const auto& planned : data_->rules[found.rule].faults) {
    if (planned.what.kind == fault_kind::crash && !in_process)
      continue;
    if (planned.times == 0)
      return planned.what;
    // Most requests come after the times are used up: look before taking, so that no cache line is fought over.
    if (planned.met.load(std::memory_order_relaxed) < planned.times && planned.met.fetch_add(1, std::memory_order_relaxed) < planned.times)
      return planned.what;
  }
  return std::nullopt;
}

expected<scripted_reply> script::render(const matched& found, const request_view& view) const {
  const auto& rule = data_->rules[found.rule];
  scripted_reply reply;
  render_budget budget;
  render_scope scope{view, found.captured, budget, {}};
  if (rule.constant) {
    reply.text = rule.constant_text;
  } else if (rule.document) {
    reply.text = detail::render(*rule.document, scope).dump(-1, ' ', false, json::error_handler_t::replace);
    budget.take_output(reply.text.size());
  } else {
    detail::render(rule.text, scope, reply.text);
  }
  for (const auto& call : rule.calls)
    if (!add_calls(call, scope, reply.tool_calls))
      return fail(error_code::exhausted, "the reply would have more than 128 tool calls; take fewer with \"| take: 128\"",
                  "/rules/" + std::to_string(found.rule) + "/reply/tool_calls");
  if (budget.exceeded)
    return fail(error_code::exhausted, "the reply would be larger than 1 MiB, or take too much work to write",
                "/rules/" + std::to_string(found.rule) + "/reply");
  if (!reply.tool_calls.empty()) {
    const auto fingerprint = view.fingerprint();
    for (std::size_t i = 0; i < reply.tool_calls.size(); ++i)
      if (reply.tool_calls[i].id.empty())
        reply.tool_calls[i].id = generated_id(fingerprint, i);
  }
  reply.finish = rule.finish.value_or(reply.tool_calls.empty() ? finish_reason::stop : finish_reason::tool_calls);
  if (rule.states_usage) {
    auto& usage = reply.usage.emplace();
    usage.input = rule.input ? *rule.input : tokens_of(view.characters());
    usage.cached_input = rule.cached_input;
    usage.cache_write = rule.cache_write;
    if (rule.output) {
      usage.output = *rule.output;
    } else {
      auto written = count_characters(reply.text);
      for (const auto& call : reply.tool_calls)
        written += count_characters(call.name) + count_characters(call.arguments);
      usage.output = tokens_of(written);
      // A truthful provider states no more than was asked for.
      if (view.max_tokens > 0)
        usage.output = std::min(usage.output, view.max_tokens);
    }
  }
  return reply;
}

bool script::is_constant(std::size_t rule) const {
  return data_->rules[rule].constant;
}

std::chrono::milliseconds script::latency(std::size_t rule) const {
  return data_->rules[rule].latency;
}

const std::vector<std::pair<std::string, std::string>>& script::headers(std::size_t rule) const {
  return data_->rules[rule].headers;
}

const std::vector<std::string>& script::agents() const {
  return data_->agents;
}

const std::vector<std::string>& script::models() const {
  return data_->models;
}

std::int64_t script::tokens_of(std::int64_t characters) const {
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(characters) / data_->chars_per_token));
}

std::int64_t script::largest_stated_input() const {
  return data_->largest_stated_input;
}

std::string describe_unmatched(const request_view& view) {
  const auto name = view.agent.empty() ? view.first_line() : view.agent;
  return "no rule of the script matches this request: agent " + in_quotes(name) + ", model " + in_quotes(view.model) + ", turn "
         + std::to_string(view.turn()) + ", last message " + in_quotes(view.last())
         + ". Add a rule, or a last one with `when: { any: true }`";
}

} // namespace troupe::llm
