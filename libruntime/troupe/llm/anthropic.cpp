#include "troupe/llm/anthropic.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "troupe/llm/hostile_document.hpp"
#include "troupe/llm/json_writer.hpp"
#include "troupe/llm/tool_texts.hpp"
#include "troupe/model/described.hpp"

namespace troupe::llm {

namespace {

constexpr std::string_view blank_stand_in = "(empty)";

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\f\v") == std::string_view::npos;
}

template <class Sink>
void write_tool(json_writer<Sink>& w, const std::string& name, const std::string& description, const json& parameters) {
  w.raw(R"({"name":)").string(name);
  if (!description.empty())
    w.raw(R"(,"description":)").string(description);
  w.raw(R"(,"input_schema":)").raw(parameters_text(parameters)).raw("}");
}

std::string write_tools(const std::vector<tool_declaration>& tools) {
  std::string out;
  json_writer w(out);
  w.raw("[");
  for (std::size_t i = 0; i < tools.size(); ++i) {
    w.raw(i ? "," : "");
    write_tool(w, tools[i].name, tools[i].description, tools[i].parameters);
  }
  w.raw("]");
  return out;
}

/// An id that the API takes; the same for a call and its result, and different ids stay different.
std::string sendable_id(std::string_view id) {
  constexpr char hex[] = "0123456789abcdef";
  std::string out;
  for (const char c : id) {
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-') {
      out += c;
    } else {
      out += "_x";
      out += hex[static_cast<unsigned char>(c) >> 4];
      out += hex[static_cast<unsigned char>(c) & 15];
    }
  }
  return out.empty() ? "unnamed" : out;
}

/// Writes the messages: the conversation's, grouped by who speaks.
template <class Sink>
class turn_writer {
public:
  explicit turn_writer(json_writer<Sink>& w) : w_(w) {}

  /// One turn of a role: its tool results, then its text and calls, in order.
  void turn(bool assistant, conversation::const_iterator begin, conversation::const_iterator end) {
    if (assistant && first_turn_) { // the API wants the user to open
      w_.raw(R"({"role":"user","content":[{"type":"text","text":)").string(blank_stand_in).raw("}]}");
      first_turn_ = false;
    }
    w_.raw(first_turn_ ? "" : ",").raw(assistant ? R"({"role":"assistant","content":[)" : R"({"role":"user","content":[)");
    first_turn_ = false;
    first_block_ = true;
    for (auto it = begin; it != end; ++it)
      if ((*it)->from == role::tool)
        result(**it);
    for (auto it = begin; it != end; ++it) {
      const auto& message = **it;
      if (message.from == role::tool)
        continue;
      if (!is_blank(message.text))
        text(message.text);
      for (const auto& each : message.tool_calls)
        call(each);
    }
    if (first_block_)
      text(blank_stand_in);
    w_.raw("]}");
  }

  bool none() const { return first_turn_; }

private:
  void block() {
    w_.raw(first_block_ ? "" : ",");
    first_block_ = false;
  }

  void text(std::string_view words) {
    block();
    w_.raw(R"({"type":"text","text":)").string(words).raw("}");
  }

  void call(const tool_call& call) {
    block();
    w_.raw(R"({"type":"tool_use","id":)").string(sendable_id(call.id)).raw(R"(,"name":)").string(sendable_name(call.name));
    w_.raw(R"(,"input":)").raw(sendable_arguments(call.arguments)).raw("}");
  }

  void result(const chat_message& message) {
    block();
    w_.raw(R"({"type":"tool_result","tool_use_id":)").string(sendable_id(message.tool_call_id));
    if (!is_blank(message.text))
      w_.raw(R"(,"content":)").string(message.text);
    w_.raw(message.is_error ? R"(,"is_error":true})" : "}");
  }

  json_writer<Sink>& w_;
  bool first_turn_ = true;
  bool first_block_ = true;
};

/// Tools that a history uses while none are declared: the API wants them declared all the same.
std::string stand_in_tools(const conversation& messages) {
  std::vector<std::string> names;
  for (const auto& message : messages)
    for (const auto& call : message->tool_calls)
      if (auto name = sendable_name(call.name); std::find(names.begin(), names.end(), name) == names.end() && names.size() < 128)
        names.push_back(std::move(name));
  if (names.empty())
    return {};
  std::string out;
  json_writer w(out);
  for (const auto& name : names) {
    w.raw(out.empty() ? "[" : ",");
    write_tool(w, name, "No longer available", nullptr);
  }
  w.raw("]");
  return out;
}

template <class Sink>
void write_tool_choice(json_writer<Sink>& w, const llm_request& request) {
  const auto& choice = request.tool_choice;
  if (choice == "required") {
    w.raw(R"(,"tool_choice":{"type":"any"})");
  } else if (choice == "auto" || choice == "none") {
    w.raw(R"(,"tool_choice":{"type":)").string(choice).raw("}");
  } else if (!choice.empty()
             && std::any_of(request.tools->begin(), request.tools->end(), [&](const auto& tool) { return tool.name == choice; })) {
    w.raw(R"(,"tool_choice":{"type":"tool","name":)").string(choice).raw("}");
  }
}

template <class Sink>
void write_request(Sink& out, const llm_request& request, const std::string* tools) {
  json_writer<Sink> w(out);
  w.raw(R"({"model":)").string(request.model).raw(R"(,"max_tokens":)").number(request.max_tokens);
  const auto& messages = request.messages;
  auto at = messages.begin();
  bool any_system = false;
  for (; at != messages.end() && (*at)->from == role::system; ++at) {
    if (is_blank((*at)->text))
      continue;
    w.raw(any_system ? "\\n\\n" : R"(,"system":")").characters((*at)->text);
    any_system = true;
  }
  w.raw(any_system ? R"(","messages":[)" : R"(,"messages":[)");
  turn_writer<Sink> turns(w);
  while (at != messages.end()) {
    const bool assistant = (*at)->from == role::assistant;
    const auto end = std::find_if(at, messages.end(), [&](const message_ptr& m) { return (m->from == role::assistant) != assistant; });
    turns.turn(assistant, at, end);
    at = end;
  }
  if (turns.none()) // a system prompt alone
    turns.turn(false, at, at);
  w.raw("]");
  if (tools) {
    w.raw(R"(,"tools":)").raw(*tools);
    write_tool_choice(w, request);
  } else if (const auto stand_ins = stand_in_tools(messages); !stand_ins.empty()) {
    w.raw(R"(,"tools":)").raw(stand_ins).raw(R"(,"tool_choice":{"type":"none"})");
  }
  if (request.temperature && std::isfinite(*request.temperature) && claude_takes_temperature(request.model))
    w.raw(R"(,"temperature":)").number(std::clamp(*request.temperature, 0.0, 1.0));
  if (request.stream)
    w.raw(R"(,"stream":true)");
  w.raw("}");
}

finish_reason finish_named(std::string_view name) {
  if (name == "end_turn" || name == "stop_sequence")
    return finish_reason::stop;
  if (name == "tool_use")
    return finish_reason::tool_calls;
  if (name == "max_tokens" || name == "model_context_window_exceeded")
    return finish_reason::length;
  if (name == "refusal")
    return finish_reason::content_filter;
  return finish_reason::other; // pause_turn and what is to come
}

llm_failure malformed(std::string words) {
  return failure_of(llm_failure_kind::malformed, 200, std::move(words));
}

/// Usage as the API states it: input beside what went to and came from the cache. A stream states it twice, the second one in part.
struct stated_usage {
  std::optional<std::int64_t> input, cache_read, cache_write, output;

  void read(const boost::json::value& usage) {
    const auto take = [&](std::optional<std::int64_t>& into, const char* key) {
      if (const auto count = token_count(usage, key))
        into = count;
    };
    take(input, "input_tokens");
    take(cache_read, "cache_read_input_tokens");
    take(cache_write, "cache_creation_input_tokens");
    take(output, "output_tokens");
  }

  std::optional<token_usage> sum() const {
    if (!input || !output)
      return std::nullopt;
    token_usage out;
    out.cached_input = cache_read.value_or(0);
    out.cache_write = cache_write.value_or(0);
    out.output = *output;
    // One absurd part makes the whole absurd, and sums of absurd parts must not overflow.
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / 4;
    const auto absurd = [](std::int64_t n) { return n < 0 || n > most; };
    if (absurd(*input) || absurd(out.cached_input) || absurd(out.cache_write))
      out.input = -1;
    else
      out.input = *input + out.cached_input + out.cache_write;
    return out;
  }
};

class anthropic_reader final : public response_reader {
public:
  void event(const sse_event& event, answer& into) override {
    if (event.data.empty() || event.type == "ping")
      return;
    const hostile_document document(event.data);
    if (!document.object()) {
      into.failure = malformed("an event of the stream is not a JSON object");
      return;
    }
    const auto& body = *document.object();
    const auto type = text_at(body, "type");
    if (type == "error" || event.type == "error") {
      auto error = error_object_of(body, 200);
      into.failure = error ? *std::move(error) : status_failure(200, event.data);
    } else if (type == "message_start") {
      usage_.read(value_at(value_at(body, "message"), "usage")); // its output is that of the first tokens: no sum yet
    } else if (type == "content_block_start") {
      start(body, into);
    } else if (type == "content_block_delta") {
      delta(body, into);
    } else if (type == "content_block_stop") {
      if (open_ && into.calls[*open_].arguments.empty())
        into.calls[*open_].arguments = std::move(start_input_);
      open_.reset();
    } else if (type == "message_delta") {
      usage_.read(value_at(body, "usage"));
      into.usage = usage_.sum();
      read_reason(value_at(body, "delta"), into);
    } else if (type == "message_stop") {
      into.terminal = true;
    }
  }

  void whole(const boost::json::value& body, answer& into) override {
    into.terminal = true;
    usage_.read(value_at(body, "usage"));
    into.usage = usage_.sum(); // what it states is charged, whatever else is wrong with it
    if (auto error = error_object_of(body, 200)) {
      into.failure = std::move(error);
      return;
    }
    const auto* content = list_at(body, "content");
    if (!content) {
      into.failure = malformed("the response has no content");
      return;
    }
    for (const auto& block : *content) {
      const auto type = text_at(block, "type");
      if (type == "text")
        into.text += text_at(block, "text");
      else if (type == "tool_use" && !add_call(block, into))
        return;
    }
    read_reason(body, into);
  }

private:
  static void read_reason(const boost::json::value& from, answer& into) {
    if (value_at(from, "stop_reason").is_string())
      into.finish = finish_named(text_at(from, "stop_reason"));
  }

  static std::string input_text(const boost::json::value& input) { return input.is_null() ? "{}" : text_of(input); }

  static bool add_call(const boost::json::value& block, answer& into) {
    if (into.calls.size() >= calls_max) {
      into.failure = malformed("the response has more than " + std::to_string(calls_max) + " tool calls");
      return false;
    }
    into.calls.push_back({std::string(text_at(block, "id")), std::string(text_at(block, "name")), input_text(value_at(block, "input"))});
    return true;
  }

  void start(const boost::json::value& body, answer& into) {
    open_.reset();
    const auto& block = value_at(body, "content_block");
    const auto type = text_at(block, "type");
    if (type == "text") {
      into.text += text_at(block, "text");
    } else if (type == "tool_use" && add_call(block, into)) {
      // The input comes in pieces of text; what stands here counts only where none comes.
      open_ = into.calls.size() - 1;
      start_input_ = std::move(into.calls.back().arguments);
      into.calls.back().arguments.clear();
      open_index_ = token_count(body, "index").value_or(0);
    }
  }

  void delta(const boost::json::value& body, answer& into) {
    const auto& delta = value_at(body, "delta");
    const auto type = text_at(delta, "type");
    if (type == "text_delta")
      into.text += text_at(delta, "text");
    else if (type == "input_json_delta" && open_ && token_count(body, "index").value_or(0) == open_index_)
      into.calls[*open_].arguments += text_at(delta, "partial_json");
  }

  stated_usage usage_;
  std::optional<std::size_t> open_; // the call whose input is arriving
  std::int64_t open_index_ = 0;
  std::string start_input_;
};

class anthropic_format final : public wire_format {
public:
  std::string body(const llm_request& request) const override {
    const auto tools = tools_.of(request.tools);
    std::size_t likely = 512 + (tools ? tools->size() : 0);
    for (const auto& message : request.messages)
      likely += message->text.size() + message->text.size() / 16 + 64 + message->tool_calls.size() * 256;
    std::string out;
    out.reserve(likely);
    write_request(out, request, tools.get());
    return out;
  }

  std::size_t body_bytes(const llm_request& request) const override {
    byte_counter count;
    write_request(count, request, tools_.of(request.tools).get());
    return count.bytes;
  }

  std::unique_ptr<response_reader> reader() const override { return std::make_unique<anthropic_reader>(); }

private:
  tool_texts tools_{&write_tools};
};

} // namespace

bool claude_takes_temperature(std::string_view model) {
  // claude-FAMILY-MAJOR[-MINOR][-DATE]; before 4 the family stood last (claude-3-5-sonnet-20241022).
  const auto at = model.rfind("claude-");
  if (at == std::string_view::npos)
    return true;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::array<int, 2> version{0, 0}; // numbers of one or two digits; a date has eight
  std::size_t found = 0;
  for (auto rest = model.substr(at + 7); !rest.empty() && found < version.size();) {
    const auto part = rest.substr(0, rest.find_first_of("-@:."));
    if (!part.empty() && part.size() <= 2 && std::all_of(part.begin(), part.end(), is_digit))
      std::from_chars(part.data(), part.data() + part.size(), version[found++]);
    else if (found > 0)
      break;
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
  }
  return version <= std::array<int, 2>{4, 6};
}

std::unique_ptr<wire_format> make_anthropic_format() {
  return std::make_unique<anthropic_format>();
}

} // namespace troupe::llm
