#pragma once
// A script as it is compiled: what script_parse.cpp builds, and script.cpp runs.

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <re2/re2.h>

#include "troupe/llm/script.hpp"
#include "troupe/llm/script_template.hpp"

namespace troupe::llm::detail {

struct condition {
  std::optional<std::string> agent;
  std::optional<std::int64_t> turn;
  std::optional<std::string> model;
  std::unique_ptr<RE2> last;
  std::optional<std::string> contains;
  std::optional<bool> has_tool_result;
  std::optional<std::string> tool_result_of;
};

struct capture {
  enum class source { last, tool, conversation, first, system };
  std::string name;
  source from = source::last;
  std::string tool;
  std::unique_ptr<RE2> pattern;              ///< null: the whole text, of which `pointer` takes a part
  std::vector<std::string> fields;           ///< names of its groups; empty: one unnamed group, or none
  std::optional<json::json_pointer> pointer; ///< takes a part of what was matched, read as JSON
  bool all = false;
  bool unique = false;
  bool required = true;
};

struct planned_fault {
  fault what;
  std::int64_t times = 0; ///< 0: always
  mutable std::atomic<std::int64_t> met{0};
};

struct planned_call {
  std::string name;
  std::string id; ///< empty: made from the request
  std::optional<expression> for_each;
  text_template raw_arguments; ///< arguments written as a text: sent as it is, JSON or not
  json_template arguments;
  bool is_raw = false;
  std::string constant_arguments; ///< filled where they are the same for every request
};

struct rule {
  condition when;
  std::vector<capture> captures;
  text_template text;
  std::optional<json_template> document; ///< `reply.json`
  std::vector<planned_call> calls;
  std::optional<finish_reason> finish;
  bool constant = false;
  std::string constant_text;
  std::optional<std::int64_t> input, output;
  std::int64_t cached_input = 0, cache_write = 0;
  bool states_usage = true;
  std::chrono::milliseconds latency{0};
  std::deque<planned_fault> faults; ///< in order: each until its times are used up
  std::vector<std::pair<std::string, std::string>> headers;
};

struct script_data {
  double chars_per_token = 4;
  std::deque<rule> rules;
  std::vector<std::string> agents;
  std::vector<std::string> models;
  std::int64_t largest_stated_input = 0;
};

/// What the capture takes from the request: null where it does not match.
json take(const capture& how, const request_view& view);

} // namespace troupe::llm::detail
