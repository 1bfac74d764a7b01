#include "troupe/tools/web_call.hpp"

#include <algorithm>
#include <utility>

#include "troupe/llm/vendor_headers.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::tools {

namespace {

/// Where a request is: the entry that allows its present hop. Written and read on the client's thread, one after the other.
struct hop {
  allow_list allowed;
  const allowed_host* entry = nullptr;
};

std::string content_type(const llm::http_result& result) {
  const auto* type = result.headers.find("content-type");
  return type ? mended_utf8(safe_prefix(*type, 100)) : std::string();
}

/// The body as text without secrets, also those that the cut runs through; true when it was cut.
bool take_text(llm::http_result& result, std::size_t bytes_max, std::string& into) {
  bool cut = result.error == llm::http_error::too_large;
  into = std::move(result.body);
  if (cut && into.size() > 4)
    into.resize(utf8_prefix(into, into.size() - 4).size());
  into = cut ? redacted_at(std::move(into), redactor::cut::end) : redacted(std::move(into));
  mend_utf8(into);
  if (into.size() > bytes_max) {
    into.resize(utf8_prefix(into, bytes_max).size());
    cut = true;
  }
  return cut;
}

std::string header_lines(const llm::http_result& result) {
  auto out = "status " + std::to_string(result.status);
  for (const auto& [name, value] : result.headers.fields())
    out.append("\n").append(name).append(": ").append(value);
  return mended_utf8(out);
}

bool is_success(const web_answer_rules& rules, int status) {
  if (rules.success.empty())
    return status >= 200 && status <= 299;
  return std::find(rules.success.begin(), rules.success.end(), status) != rules.success.end();
}

/// Statuses that may be another one a moment later (SEMANTICS 1).
bool may_pass(int status) {
  static constexpr int passing[] = {408, 409, 425, 429, 500, 502, 503, 504};
  return std::find(std::begin(passing), std::end(passing), status) != std::end(passing);
}

/// No whole answer came.
tool_outcome outcome_of_error(const web_answer_rules& rules, const llm::http_result& result, std::chrono::milliseconds timeout) {
  using llm::http_error;
  // A redirect that was followed answered something that had been sent.
  const bool sent = result.request_sent || !result.final_url.empty();
  tool_outcome out;
  out.exit_status = result.status;
  out.status = sent ? tool_status::failed : tool_status::not_started;
  const auto name = "tool \"" + rules.tool + "\": ";
  switch (result.error) {
  case http_error::timed_out:
    out.status = sent || rules.what != effect::once ? tool_status::timed_out : tool_status::not_started;
    out.error = name + "no whole answer within its timeout of " + std::to_string(timeout.count()) + " ms";
    break;
  case http_error::cancelled:
    out.status = tool_status::cancelled;
    out.error = name + "it was cancelled";
    break;
  case http_error::invalid_request:
  case http_error::refused:
    out.status = tool_status::failed; // our own no, not a tool that does not answer
    out.permanent = true;
    out.error = name + mended_utf8(result.message);
    break;
  case http_error::broken:
    if (sent && rules.what == effect::once)
      out.status = tool_status::in_doubt;
    [[fallthrough]];
  default:
    out.error = name + mended_utf8(result.message);
  }
  return out;
}

tool_outcome useless(const web_answer_rules& rules, int status, const std::string& words) {
  tool_outcome out;
  out.status = tool_status::failed;
  out.error = "tool \"" + rules.tool + "\": " + words;
  out.exit_status = status;
  out.permanent = true;
  return out;
}

} // namespace

expected<void> confine(llm::http_request& request, allow_list allowed) {
  const auto target = target_of(request.url);
  if (!target)
    return tl::unexpected(target.error());
  const auto state = std::make_shared<hop>(hop{std::move(allowed), nullptr});
  state->entry = entry_for(*state->allowed, *target);
  if (state->entry == nullptr)
    return fail(error_code::invalid_argument,
                "host \"" + target->host + "\" (port " + std::to_string(target->port) + ") is not among the tool's allow_hosts");
  request.on_redirect = [state](const std::string& next) {
    const auto to = target_of(next);
    state->entry = to ? entry_for(*state->allowed, *to) : nullptr;
    return state->entry != nullptr;
  };
  request.address_filter = [state](const sockaddr* address) { return state->entry != nullptr && may_connect(*state->entry, address); };
  return {};
}

bool is_accepted(const std::vector<std::string>& accept, std::string_view type) {
  type = type.substr(0, type.find(';'));
  while (!type.empty() && type.back() == ' ')
    type.remove_suffix(1);
  if (accept.empty() || type.empty())
    return true;
  const auto lowered = [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b);
  };
  return std::any_of(accept.begin(), accept.end(), [&](std::string_view each) {
    if (each == "*/*")
      return true;
    if (each.ends_with("/*"))
      return type.size() >= each.size() && std::equal(each.begin(), each.end() - 1, type.begin(), lowered);
    return std::equal(each.begin(), each.end(), type.begin(), type.end(), lowered);
  });
}

tool_outcome outcome_of(const web_answer_rules& rules, llm::http_result result, std::chrono::milliseconds timeout,
                        std::int64_t utc_now_us) {
  using llm::http_error;
  if (result.error != http_error::none && result.error != http_error::too_large)
    return outcome_of_error(rules, result, timeout);
  const auto type = content_type(result);
  const bool good = is_success(rules, result.status);
  if (result.body.find('\0') != std::string::npos)
    return useless(rules, result.status, "what is there is binary (" + (type.empty() ? "unknown type" : type) + "), and only text is read");
  if (good && !is_accepted(rules.accept, type))
    return useless(rules, result.status, "the answer is " + type + ", which is not among what this tool accepts");
  tool_outcome out;
  out.exit_status = result.status;
  const auto wait = llm::retry_after_of(result.headers, utc_now_us);
  const auto status = result.status;
  const auto where = mended_utf8(result.final_url);
  if (rules.head)
    out.output = header_lines(result);
  else if ((out.truncated = take_text(result, rules.bytes_max, out.output)))
    out.output += "\n[cut: these are the first " + std::to_string(out.output.size()) + " bytes]";
  if (good)
    return out;
  out.status = tool_status::failed;
  out.error = "tool \"" + rules.tool + "\": the server answered with status " + std::to_string(status);
  if (!where.empty())
    out.error += " at " + where;
  out.permanent = !may_pass(status);
  out.retry_after_ms = wait && !out.permanent ? wait->count() : -1;
  return out;
}

} // namespace troupe::tools
