#include "troupe/llm/openai.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <utility>

#include "troupe/llm/hostile_document.hpp"
#include "troupe/llm/json_writer.hpp"
#include "troupe/llm/tool_texts.hpp"
#include "troupe/model/described.hpp"

namespace troupe::llm {

namespace {

std::string_view bare_model(std::string_view model) {
  if (model.rfind("ft:", 0) == 0)
    model = model.substr(3, model.find(':', 3) - 3);
  if (const auto slash = model.rfind('/'); slash != std::string_view::npos)
    model = model.substr(slash + 1);
  return model;
}

bool is_o_series(std::string_view bare) {
  return bare.size() >= 2 && bare[0] == 'o' && std::isdigit(static_cast<unsigned char>(bare[1])) && (bare.size() == 2 || bare[2] == '-');
}

bool is_gpt5(std::string_view bare) {
  return bare.rfind("gpt-5", 0) == 0;
}

std::string write_tools(const std::vector<tool_declaration>& tools) {
  std::string out;
  json_writer w(out);
  w.raw("[");
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const auto& tool = tools[i];
    w.raw(i ? "," : "").raw(R"({"type":"function","function":{"name":)").string(tool.name);
    if (!tool.description.empty())
      w.raw(R"(,"description":)").string(tool.description);
    w.raw(R"(,"parameters":)").raw(parameters_text(tool.parameters)).raw("}}");
  }
  w.raw("]");
  return out;
}

template <class Sink>
void write_message(json_writer<Sink>& w, const chat_message& message) {
  switch (message.from) {
  case role::system:
    w.raw(R"({"role":"system","content":)").string(message.text);
    break;
  case role::user:
    w.raw(R"({"role":"user","content":)").string(message.text);
    break;
  case role::tool:
    w.raw(R"({"role":"tool","tool_call_id":)").string(message.tool_call_id).raw(R"(,"content":)").string(message.text);
    break;
  case role::assistant:
    w.raw(R"({"role":"assistant","content":)");
    if (message.tool_calls.empty() || !message.text.empty())
      w.string(message.text);
    else
      w.raw("null");
    if (!message.tool_calls.empty()) {
      w.raw(R"(,"tool_calls":[)");
      bool first = true;
      for (const auto& call : message.tool_calls) {
        w.raw(first ? "" : ",").raw(R"({"id":)").string(call.id).raw(R"(,"type":"function","function":{"name":)");
        w.string(sendable_name(call.name)).raw(R"(,"arguments":)").string(sendable_arguments(call.arguments)).raw("}}");
        first = false;
      }
      w.raw("]");
    }
    break;
  }
  w.raw("}");
}

template <class Sink>
void write_tool_choice(json_writer<Sink>& w, const llm_request& request) {
  const auto& choice = request.tool_choice;
  if (choice == "auto" || choice == "none" || choice == "required") {
    w.raw(R"(,"tool_choice":)").string(choice);
  } else if (!choice.empty()
             && std::any_of(request.tools->begin(), request.tools->end(), [&](const auto& tool) { return tool.name == choice; })) {
    w.raw(R"(,"tool_choice":{"type":"function","function":{"name":)").string(choice).raw("}}");
  }
}

template <class Sink>
void write_request(Sink& out, const llm_request& request, const std::string* tools, std::string_view limit_field) {
  json_writer<Sink> w(out);
  w.raw(R"({"model":)").string(request.model).raw(R"(,"messages":[)");
  bool first = true;
  for (const auto& message : request.messages) {
    if (!first)
      w.raw(",");
    write_message(w, *message);
    first = false;
  }
  w.raw("]");
  if (tools) {
    w.raw(R"(,"tools":)").raw(*tools);
    write_tool_choice(w, request);
  }
  if (request.temperature && std::isfinite(*request.temperature) && takes_temperature(request.model))
    w.raw(R"(,"temperature":)").number(*request.temperature);
  if (!request.reasoning_effort.empty())
    w.raw(R"(,"reasoning_effort":)").string(request.reasoning_effort);
  if (limit_field.empty())
    limit_field = takes_completion_tokens(request.model) ? "max_completion_tokens" : "max_tokens";
  w.raw(",").string(limit_field).raw(":").number(request.max_tokens);
  if (request.stream)
    w.raw(R"(,"stream":true,"stream_options":{"include_usage":true})");
  w.raw("}");
}

/// Servers that speak this format have names of their own for a model that was done, and for one that had no tokens left.
finish_reason finish_named(std::string_view name) {
  if (name == "stop" || name == "stop_sequence" || name == "eos" || name == "eos_token" || name == "end_turn")
    return finish_reason::stop;
  if (name == "tool_calls" || name == "function_call")
    return finish_reason::tool_calls;
  if (name == "length" || name == "max_tokens" || name == "model_length")
    return finish_reason::length;
  if (name == "content_filter")
    return finish_reason::content_filter;
  return finish_reason::other;
}

std::optional<token_usage> usage_of(const boost::json::value& usage) {
  const auto input = token_count(usage, "prompt_tokens");
  const auto output = token_count(usage, "completion_tokens");
  if (!input || !output)
    return std::nullopt;
  token_usage out;
  out.input = *input;
  out.output = *output;
  if (const auto total = token_count(usage, "total_tokens"); total && *input >= 0 && *output >= 0) // reasoning, at some servers
    out.output = std::max(*output, *total - *input);
  out.cached_input = token_count(value_at(usage, "prompt_tokens_details"), "cached_tokens").value_or(0);
  return out;
}

/// A message's content: text, or parts of which the text ones count.
void append_content(const boost::json::value& message, std::string& text) {
  text += text_at(message, "content");
  if (const auto* parts = list_at(message, "content"))
    for (const auto& part : *parts)
      if (text_at(part, "type") == "text")
        text += text_at(part, "text");
}

/// Text as the format has it; some servers send the object itself.
std::string arguments_of(const boost::json::value& function) {
  const auto& arguments = value_at(function, "arguments");
  if (arguments.is_string())
    return std::string(text_at(function, "arguments"));
  return arguments.is_null() ? std::string{} : text_of(arguments);
}

llm_failure malformed(std::string words) {
  return failure_of(llm_failure_kind::malformed, 200, std::move(words));
}

class openai_reader final : public response_reader {
public:
  void event(const sse_event& event, answer& into) override {
    if (event.data == "[DONE]") {
      close(into);
      into.terminal = true;
      return;
    }
    if (event.data.empty())
      return;
    const hostile_document document(event.data);
    if (!document.object()) {
      into.failure = malformed("an event of the stream is not a JSON object");
      return;
    }
    const auto& chunk = *document.object();
    if (auto error = error_object_of(chunk, 200); error || event.type == "error") {
      into.failure = error ? *std::move(error) : status_failure(200, event.data);
      return;
    }
    if (auto usage = usage_of(value_at(chunk, "usage")))
      into.usage = usage; // the last one counts: some servers send a running total
    const auto* choices = list_at(chunk, "choices");
    if (!choices)
      return;
    for (const auto& choice : *choices) {
      if (const auto index = token_count(choice, "index"); index && *index != 0)
        continue;
      delta(value_at(choice, "delta"), into);
      if (value_at(choice, "finish_reason").is_string()) {
        into.finish = finish_named(text_at(choice, "finish_reason"));
        close(into);
      }
    }
  }

  void whole(const boost::json::value& body, answer& into) override {
    into.terminal = true;
    into.usage = usage_of(value_at(body, "usage")); // what it states is charged, whatever else is wrong with it
    if (auto error = error_object_of(body, 200)) {
      into.failure = std::move(error);
      return;
    }
    const auto* choices = list_at(body, "choices");
    if (!choices || choices->empty() || !value_at(choices->front(), "message").is_object()) {
      into.failure = malformed("the response has no choices[0].message");
      return;
    }
    const auto& choice = choices->front();
    const auto& message = value_at(choice, "message");
    append_content(message, into.text);
    refusal_ = text_at(message, "refusal");
    if (const auto* calls = list_at(message, "tool_calls")) {
      if (calls->size() > calls_max) {
        into.failure = malformed("the response has more than " + std::to_string(calls_max) + " tool calls");
        return;
      }
      for (const auto& call : *calls) {
        const auto& function = value_at(call, "function");
        into.calls.push_back({std::string(text_at(call, "id")), std::string(text_at(function, "name")), arguments_of(function)});
      }
    }
    if (value_at(choice, "finish_reason").is_string())
      into.finish = finish_named(text_at(choice, "finish_reason"));
    close(into);
  }

private:
  void delta(const boost::json::value& delta, answer& into) {
    append_content(delta, into.text);
    refusal_ += text_at(delta, "refusal");
    const auto* calls = list_at(delta, "tool_calls");
    if (!calls)
      return;
    for (const auto& piece : *calls) {
      const auto slot = slot_of(piece, into);
      if (!slot) {
        into.failure = malformed("the stream has more than " + std::to_string(calls_max) + " tool calls");
        return;
      }
      auto& call = into.calls[*slot];
      if (call.id.empty())
        call.id = text_at(piece, "id");
      const auto& function = value_at(piece, "function");
      if (const auto name = text_at(function, "name"); name != call.name) // some servers repeat it with each piece
        call.name += name;
      call.arguments += arguments_of(function);
    }
  }

  /// The call that a piece belongs to: by its index; a new id under a known index, or no index at all, starts another call.
  std::optional<std::size_t> slot_of(const boost::json::value& piece, answer& into) {
    const auto index = token_count(piece, "index");
    const auto id = text_at(piece, "id");
    std::optional<std::size_t> found;
    if (index) {
      for (std::size_t i = indices_.size(); i-- > 0 && !found;)
        if (indices_[i] == *index)
          found = i;
    } else if (!into.calls.empty()) {
      found = into.calls.size() - 1;
    }
    if (found && !id.empty() && !into.calls[*found].id.empty() && into.calls[*found].id != id) {
      const auto same = std::find_if(into.calls.begin(), into.calls.end(), [&](const tool_call& call) { return call.id == id; });
      found.reset();
      if (same != into.calls.end())
        found = static_cast<std::size_t>(same - into.calls.begin());
    }
    if (found)
      return found;
    if (into.calls.size() >= calls_max)
      return std::nullopt;
    into.calls.emplace_back();
    indices_.push_back(index.value_or(-1));
    return into.calls.size() - 1;
  }

  /// A refusal stands in its own field; it is the answer's text where there is no other.
  void close(answer& into) {
    if (refusal_.empty())
      return;
    if (into.text.empty())
      into.text = std::move(refusal_);
    if (into.finish)
      into.finish = finish_reason::content_filter;
    refusal_.clear();
  }

  std::string refusal_;
  std::vector<std::int64_t> indices_; // of into.calls
};

class openai_format final : public wire_format {
public:
  explicit openai_format(std::string max_tokens_field) : max_tokens_field_(std::move(max_tokens_field)) {}

  std::string body(const llm_request& request) const override {
    const auto tools = tools_.of(request.tools);
    std::size_t likely = 192 + (tools ? tools->size() : 0);
    for (const auto& message : request.messages)
      likely += message->text.size() + message->text.size() / 16 + 48 + message->tool_calls.size() * 160;
    std::string out;
    out.reserve(likely);
    write_request(out, request, tools.get(), max_tokens_field_);
    return out;
  }

  std::size_t body_bytes(const llm_request& request) const override {
    byte_counter count;
    write_request(count, request, tools_.of(request.tools).get(), max_tokens_field_);
    return count.bytes;
  }

  std::unique_ptr<response_reader> reader() const override { return std::make_unique<openai_reader>(); }

private:
  std::string max_tokens_field_;
  tool_texts tools_{&write_tools};
};

} // namespace

bool takes_completion_tokens(std::string_view model) {
  const auto bare = bare_model(model);
  return is_o_series(bare) || is_gpt5(bare);
}

bool takes_temperature(std::string_view model) {
  const auto bare = bare_model(model);
  return !is_o_series(bare) && (!is_gpt5(bare) || bare.find("-chat") != std::string_view::npos);
}

std::unique_ptr<wire_format> make_openai_format(std::string max_tokens_field) {
  return std::make_unique<openai_format>(std::move(max_tokens_field));
}

} // namespace troupe::llm
