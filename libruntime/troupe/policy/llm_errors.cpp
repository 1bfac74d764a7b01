#include "troupe/policy/llm_errors.hpp"

#include <algorithm>
#include <initializer_list>

#include "troupe/util/utf8.hpp"

namespace troupe::policy {

namespace {

constexpr std::size_t words_bytes_max = 2'000; // a provider's words are looked at so far
constexpr std::size_t description_bytes_max = 300;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lowered(std::string_view text) {
  std::string out(text.substr(0, words_bytes_max));
  for (auto& c : out)
    c = lower(c);
  return out;
}

bool has_any(std::string_view text, std::initializer_list<std::string_view> words) {
  for (auto word : words)
    if (text.find(word) != std::string_view::npos)
      return true;
  return false;
}

bool in_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '/' || c == ':';
}

/// Whether `name` stands in `text` as a whole word. A full stop or colon may follow it: "no model gpt-4o." names it.
bool names(std::string_view text, std::string_view name) {
  if (name.empty())
    return false;
  for (auto at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    const auto end = at + name.size();
    const bool starts = at == 0 || !in_name(text[at - 1]);
    const bool punctuation =
        end < text.size() && (text[end] == '.' || text[end] == ':') && (end + 1 == text.size() || !in_name(text[end + 1]));
    const bool in_quotes = at > 0 && (text[at - 1] == '"' || text[at - 1] == '\'' || text[at - 1] == '`');
    // "a" is a model's name in many a rehearsal, and an article in every sentence.
    if (starts && (end == text.size() || !in_name(text[end]) || punctuation) && (name.size() >= 3 || in_quotes))
      return true;
  }
  return false;
}

/// What the error's own code and words say, whatever its status is.
struct wording {
  bool quota, context, context_code, auth, limit_field, no_room, filtered, parameter, model, rate, overloaded;
};

wording read_words(const llm_failure& failure, std::string_view model) {
  const auto code = lowered(failure.code), text = lowered(failure.message);
  const auto is_status = [&](std::initializer_list<std::string_view> numbers) { // some servers give a status as the code of a 200
    return std::find(numbers.begin(), numbers.end(), code) != numbers.end();
  };
  wording says{};
  says.quota = has_any(code, {"insufficient_quota", "insufficient_credit", "insufficient_balance", "billing", "credit_balance"})
               || is_status({"402"}) || has_any(text, {"credit balance is too low"});
  says.context_code = has_any(code, {"context_length", "context_window"});
  says.context = says.context_code
                 || has_any(text, {"context length", "context window", "context limit", "prompt is too long", "input is too long",
                                   "input token count", "too many input tokens"});
  says.auth = has_any(code, {"authentication", "invalid_api_key", "permission", "unauthorized"}) || is_status({"401", "403"})
              || has_any(text, {"invalid api key", "incorrect api key", "api key not valid", "invalid x-api-key"});
  // "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", or the other way round.
  says.limit_field =
      has_any(text, {"max_tokens", "max_completion_tokens"})
      && (has_any(code, {"unsupported_parameter", "unknown_parameter"})
          || has_any(text, {"not supported", "unsupported parameter", "unknown parameter", "unrecognized", "not permitted"}));
  // "Could not finish the message because max_tokens or model output limit was reached": a reasoning model that thought all the way.
  says.no_room = has_any(text, {"output limit was reached"});
  says.filtered = has_any(code, {"content_filter"});
  // "`temperature` is deprecated for this model.": it names the model, and means what it was asked with.
  says.parameter =
      has_any(code, {"unsupported_parameter", "unsupported_value"}) || has_any(text, {"temperature", "reasoning_effort", "tool_choice"});
  // A rehearsal without a rule for a request describes the request, its model included: the model is not what is wrong.
  says.model = code != "no_rule"
               && (has_any(code, {"model"}) || names(text, lowered(model))
                   || (has_any(text, {"model"})
                       && has_any(text, {"not exist", "not found", "unknown model", "invalid model", "no such model", "unsupported model",
                                         "not supported", "does not support", "not available", "deprecated", "decommissioned"})));
  says.rate = has_any(code, {"rate_limit", "too_many_requests"}) || is_status({"429"});
  says.overloaded = has_any(code, {"overloaded"}) || is_status({"503", "529"});
  return says;
}

struct verdict {
  error_class kind;
  llm_reason reason;
};

verdict of_status(const llm_failure& failure, std::string_view model) {
  using enum error_class;
  using why = llm_reason;
  const int status = failure.http_status;
  const bool object_in_success = status >= 200 && status < 300;
  if (status < 200 || status > 599)
    return {retryable, why::llm_malformed};
  const auto says = read_words(failure, model);
  if (status >= 500) {
    if (says.quota)
      return {fail_over, why::llm_quota};
    if (says.context_code) // by its code alone: words of a server in trouble may say anything
      return {fail_over, why::llm_context_length};
    if (status == 503 || status == 529)
      return {retryable, why::llm_overloaded};
    return {retryable, status == 504 ? why::llm_timeout : why::llm_server_error};
  }
  if (says.quota || status == 402)
    return {fail_over, why::llm_quota};
  if (status == 401 || status == 403 || (says.auth && status != 429))
    return {fail_over, why::llm_auth};
  if (status == 404 || status == 410)
    return {fail_over, why::llm_not_found};
  if (says.context && (status == 400 || status == 413 || status == 422 || object_in_success))
    return {fail_over, why::llm_context_length};
  switch (status) {
  case 400:
  case 422:
    if (says.no_room) // of this model: another one may come to an answer
      return {fail_over, why::llm_truncated};
    if (says.limit_field) // here too: another one may take the request as it is
      return {fail_over, why::llm_bad_request};
    return says.model ? verdict{fail_over, says.parameter ? why::llm_bad_request : why::llm_not_found}
                      : verdict{fatal_task, why::llm_bad_request};
  case 413:
    return {fatal_task, why::llm_bad_request};
  case 408:
    return {retryable, why::llm_timeout};
  case 409:
  case 425:
    return {retryable, why::llm_conflict};
  case 429:
    return {retryable, why::llm_rate_limited};
  default:
    break;
  }
  if (!object_in_success)
    return {fail_over, why::llm_bad_request};
  if (says.rate)
    return {retryable, why::llm_rate_limited};
  return {retryable, says.overloaded ? why::llm_overloaded : why::llm_server_error};
}

verdict of(const llm_failure& failure, std::string_view model) {
  using enum error_class;
  switch (failure.kind) {
  case llm_failure_kind::connection:
    return {retryable, llm_reason::llm_connection};
  case llm_failure_kind::timeout:
    return {retryable, llm_reason::llm_timeout};
  case llm_failure_kind::truncated:
    return {retryable, llm_reason::llm_truncated};
  case llm_failure_kind::malformed:
    return {retryable, llm_reason::llm_malformed};
  case llm_failure_kind::empty:
    return {retryable, llm_reason::llm_empty};
  case llm_failure_kind::cancelled:
    return {cancelled, llm_reason::cancelled};
  case llm_failure_kind::agent_crash:
    return {crash, llm_reason::agent_crash};
  case llm_failure_kind::unsendable: // nor could it be the next time
    return {fail_over, llm_reason::llm_bad_request};
  case llm_failure_kind::status:
    break;
  }
  return of_status(failure, model);
}

} // namespace

namespace {

/// A status that is no success says what became of the request, also where the rest of the answer was not waited for.
bool told_by_status(const llm_failure& failure) {
  return failure.kind == llm_failure_kind::status || (failure.kind == llm_failure_kind::cancelled && failure.http_status >= 300);
}

} // namespace

bool counts_as_step(const llm_failure& failure) {
  return failure.sent && !(told_by_status(failure) && failure.http_status == 429);
}

bool may_have_been_charged(const llm_failure& failure) {
  if (!failure.sent)
    return false;
  if (!told_by_status(failure))
    return true;
  const int status = failure.http_status;
  if (status == 408 || thought_all_the_way(failure))
    return true;
  if (status >= 300 && status < 500)
    return status == 400 && read_words(failure, {}).filtered;
  const auto [kind, reason] = of_status(failure, {});
  const bool refused = kind == error_class::fail_over;
  if (status >= 500 && status < 600) // a proxy does not know what happened behind it; the provider itself does
    return !refused && (status == 502 || status == 504 || (status >= 520 && status <= 524));
  return failure.begun || !(refused || reason == llm_reason::llm_rate_limited || reason == llm_reason::llm_overloaded);
}

classification classify(const llm_failure& failure, std::string_view model) {
  const auto [kind, reason] = of(failure, model);
  const bool ill = kind == error_class::retryable && reason != llm_reason::llm_rate_limited;
  return {kind, reason, counts_as_step(failure), may_have_been_charged(failure), ill ? breaker_effect::failure : breaker_effect::neutral};
}

bool thought_all_the_way(const llm_failure& failure) {
  return failure.kind == llm_failure_kind::status && (failure.http_status == 400 || failure.http_status == 422)
         && read_words(failure, {}).no_room;
}

bool refuses_limit_field(const llm_failure& failure) {
  return failure.kind == llm_failure_kind::status && (failure.http_status == 400 || failure.http_status == 422)
         && read_words(failure, {}).limit_field;
}

std::string describe(const llm_failure& failure) {
  std::string out;
  switch (failure.kind) {
  case llm_failure_kind::connection:
    out = failure.sent ? "the connection broke" : "no connection";
    break;
  case llm_failure_kind::timeout:
    out = failure.sent ? "no answer in time" : "no connection in time";
    break;
  case llm_failure_kind::truncated:
    out = "the answer broke off";
    break;
  case llm_failure_kind::malformed:
    out = "the answer does not parse";
    break;
  case llm_failure_kind::empty:
    out = "the answer was empty";
    break;
  case llm_failure_kind::cancelled:
    out = "cancelled";
    break;
  case llm_failure_kind::agent_crash:
    out = "the script lets the agent crash";
    break;
  case llm_failure_kind::unsendable:
    out = "no request can be sent there";
    break;
  case llm_failure_kind::status:
    out = "HTTP " + std::to_string(failure.http_status);
    break;
  }
  if (!failure.code.empty())
    out += " " + std::string(utf8_prefix(failure.code, 60));
  if (!failure.message.empty())
    out.append(": ").append(failure.message, 0, words_bytes_max);
  return std::string(utf8_prefix(out, description_bytes_max));
}

} // namespace troupe::policy
