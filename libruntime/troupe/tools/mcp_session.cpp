#include "troupe/tools/mcp_session.hpp"

#include <algorithm>
#include <iterator>

#include "troupe/util/redact.hpp"
#include "troupe/util/suggest.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::tools {

namespace {

constexpr int pages_max = 200;
constexpr int input_rounds_max = 8;
constexpr std::int64_t header_mismatch = -32020;
constexpr std::int64_t missing_capability = -32021;
constexpr std::int64_t unsupported_version = -32022;
constexpr std::int64_t method_not_found = -32601;

bool is_legacy(std::string_view version) {
  return std::find(std::begin(mcp_legacy_versions), std::end(mcp_legacy_versions), version) != std::end(mcp_legacy_versions);
}

json client_info() {
  return {{"name", "troupe"}, {"version", TROUPE_VERSION}};
}

std::string short_text(std::string text, std::size_t bytes_max = 2'000) {
  text = redacted(std::move(text)); // before it is cut: a part of a secret is not found any more
  mend_utf8(text);
  if (text.size() > bytes_max)
    text = std::string(utf8_prefix(text, bytes_max)) + " …";
  return text;
}

json member(const json& from, const char* key) {
  const auto found = from.is_object() ? from.find(key) : from.end();
  return from.is_object() && found != from.end() ? *found : json();
}

std::string string_member(const json& from, const char* key) {
  const auto found = member(from, key);
  return found.is_string() ? found.get<std::string>() : std::string();
}

tool_outcome ended(tool_status status, std::string words) {
  tool_outcome out;
  out.status = status;
  out.error = std::move(words);
  return out;
}

} // namespace

mcp_session::mcp_session(mcp_session_options options) : options_(std::move(options)) {}

std::string mcp_session::who() const {
  return "MCP server " + in_quotes(options_.server);
}

// --- sending -------------------------------------------------------------------------------------------------------

json mcp_session::capabilities() const {
  return options_.answer_with_defaults ? json{{"elicitation", {{"form", {{"applyDefaults", true}}}}}} : json::object();
}

json mcp_session::meta() const {
  return {{"io.modelcontextprotocol/protocolVersion", version_},
          {"io.modelcontextprotocol/clientInfo", client_info()},
          {"io.modelcontextprotocol/clientCapabilities", capabilities()}};
}

header_list mcp_session::headers_of(std::string_view method, const json& params) const {
  header_list out;
  if (!options_.http)
    return out;
  if (!modern_) {
    if (method != "initialize")
      out.emplace_back("MCP-Protocol-Version", version_);
    return out;
  }
  out.emplace_back("MCP-Protocol-Version", version_);
  out.emplace_back("Mcp-Method", method);
  if (method == "tools/call") {
    out.emplace_back("Mcp-Name", mcp_header_value(string_member(params, "name")));
    if (const auto* tool = tool_named(string_member(params, "name")))
      for (auto& each : mcp_argument_headers(*tool, member(params, "arguments")))
        out.push_back(std::move(each));
  }
  return out;
}

std::int64_t mcp_session::request(mcp_actions& out, purpose what, std::string_view method, json params, std::optional<time_point> until,
                                  std::uint64_t call) {
  const auto id = next_id_++;
  if (modern_) {
    auto said = meta();
    if (const auto own = params.find("_meta"); own != params.end())
      said.update(*own);
    params["_meta"] = std::move(said);
  }
  pending_[id] = {what, call, until};
  auto headers = headers_of(method, params);
  out.push_back(mcp_send{id, mcp_request(id, method, std::move(params)), std::move(headers), what == purpose::listen});
  return id;
}

mcp_actions mcp_session::open(time_point now) {
  mcp_actions out;
  open_until_ = now + options_.open_timeout;
  if (is_legacy(options_.protocol))
    initialize(out, options_.protocol, now);
  else
    discover(out, now);
  return out;
}

void mcp_session::discover(mcp_actions& out, time_point now) {
  phase_ = phase::discovering;
  modern_ = true;
  version_ = mcp_modern_version;
  tried_versions_.insert(version_);
  // Silence means an older server, where one may be spoken to; over HTTP, where each answer comes by itself, it means no server.
  const bool probes = !options_.http && options_.protocol.empty();
  request(out, purpose::discover, "server/discover", json::object(),
          probes ? std::min(now + std::min(options_.probe_timeout, options_.open_timeout / 2), open_until_) : open_until_);
}

void mcp_session::initialize(mcp_actions& out, const std::string& version, time_point now) {
  phase_ = phase::initializing;
  modern_ = false;
  version_ = version;
  tried_versions_.insert(version);
  request(out, purpose::initialize, "initialize",
          {{"protocolVersion", version}, {"capabilities", capabilities()}, {"clientInfo", client_info()}}, answer_due(now));
}

void mcp_session::list(mcp_actions& out, const std::string& cursor, time_point now) {
  request(out, purpose::list, "tools/list", cursor.empty() ? json::object() : json{{"cursor", cursor}}, answer_due(now));
}

/// A server that is slow in each step is not waited for once a step.
time_point mcp_session::answer_due(time_point now) const {
  return phase_ == phase::open ? now + options_.open_timeout : open_until_;
}

// --- opening -------------------------------------------------------------------------------------------------------

void mcp_session::choose_version(mcp_actions& out, const json& supported, time_point now) {
  std::vector<std::string> names;
  if (supported.is_array())
    for (const auto& each : supported)
      if (each.is_string())
        names.push_back(each.get<std::string>());
  const auto has = [&](const std::string& version) { return std::find(names.begin(), names.end(), version) != names.end(); };
  const bool may_be_old = options_.protocol.empty();
  if (has(mcp_modern_version) && tried_versions_.count("again") == 0) {
    tried_versions_.insert("again"); // it names what it just refused: once more, no oftener
    discover(out, now);
    return;
  }
  if (may_be_old)
    for (const std::string version : mcp_legacy_versions)
      if (has(version) && tried_versions_.count(version) == 0) {
        initialize(out, version, now);
        return;
      }
  std::string words;
  for (const auto& name : names)
    words += (words.empty() ? "" : ", ") + short_text(name, 40);
  breaks(out, {error_code::unavailable,
               who() + " speaks " + (words.empty() ? "no version that it names" : words) + ", and of these we speak none"
                   + (may_be_old ? "" : " that `protocol` allows"),
               {}});
}

void mcp_session::discovered(mcp_actions& out, const json& result, time_point now) {
  const auto supported = member(result, "supportedVersions");
  if (supported.is_array() && std::find(supported.begin(), supported.end(), mcp_modern_version) == supported.end()) {
    tried_versions_.insert("again");
    choose_version(out, supported, now);
    return;
  }
  const auto offered = member(result, "capabilities");
  // A server that names no capabilities at all is asked all the same: the list says it.
  offers_tools_ = !offered.is_object() || offered.empty() || offered.contains("tools");
  tells_changes_ = member(member(offered, "tools"), "listChanged") == true;
  instructions_ = string_member(result, "instructions");
  phase_ = phase::listing;
  list(out, {}, now);
}

void mcp_session::discover_failed(mcp_actions& out, std::int64_t code, const json& data, const std::string& words, time_point now) {
  if (code == unsupported_version) {
    choose_version(out, member(data, "supported"), now);
  } else if (code == header_mismatch || code == missing_capability) {
    breaks(out, {error_code::unavailable, who() + " refused the first request: " + words, {}});
  } else if (options_.protocol.empty()) {
    initialize(out, mcp_legacy_versions[0], now);
  } else {
    discovered(out, json::object(), now); // this very version was asked for, and discovering is no duty of a client
  }
}

void mcp_session::initialized(mcp_actions& out, const json& result, time_point now) {
  const auto version = string_member(result, "protocolVersion");
  if (!is_legacy(version) || (!options_.protocol.empty() && version != options_.protocol)) {
    breaks(out, {error_code::unavailable,
                 who() + " answered with protocol version " + in_quotes(version) + ", which we do not speak"
                     + (options_.protocol.empty() ? "" : " by `protocol`"),
                 {}});
    return;
  }
  version_ = version;
  const auto offered = member(result, "capabilities");
  offers_tools_ = offered.is_object() && offered.contains("tools");
  tells_changes_ = member(member(offered, "tools"), "listChanged") == true;
  instructions_ = string_member(result, "instructions");
  std::int64_t receipt = 0;
  if (options_.http) { // where each message has a connection of its own, the next could overtake it and come too early
    receipt = next_id_++;
    pending_[receipt] = {purpose::greet, 0, answer_due(now)};
  }
  phase_ = phase::greeting;
  out.push_back(
      mcp_send{receipt, mcp_notification("notifications/initialized", json()), headers_of("notifications/initialized", {}), false});
  if (receipt == 0)
    greeted(out, now);
}

void mcp_session::greeted(mcp_actions& out, time_point now) {
  if (options_.http && (tells_changes_ || options_.answer_with_defaults)) // what it asks may come there, too
    out.push_back(mcp_greeted{});
  phase_ = phase::listing;
  if (offers_tools_)
    list(out, {}, now);
  else
    open_now(out);
}

void mcp_session::listed(mcp_actions& out, const json& result, time_point now) {
  const auto found = result.find("tools");
  if (found == result.end() || !found->is_array()) {
    breaks(out, {error_code::unavailable, who() + " answered tools/list without a list of tools", {}});
    return;
  }
  for (const auto& each : *found) {
    auto tool = read_mcp_tool(each, options_.http && modern_);
    if (!tool)
      coming_refused_.push_back(tool.error().message);
    else if (std::any_of(coming_.begin(), coming_.end(), [&](const mcp_tool& other) { return other.name == tool->name; }))
      coming_refused_.push_back("tool " + in_quotes(tool->name) + " is listed twice");
    else
      coming_.push_back(std::move(*tool));
  }
  const auto next = string_member(result, "nextCursor");
  if (!next.empty()) {
    if (!cursors_.insert(next).second || cursors_.size() > pages_max || coming_.size() > mcp_tools_max) {
      breaks(out, {error_code::unavailable,
                   who() + " lists its tools without end: " + std::to_string(coming_.size()) + " in " + std::to_string(cursors_.size())
                       + " pages",
                   {}});
      return;
    }
    list(out, next, now);
    return;
  }
  cursors_.clear();
  tools_ = std::exchange(coming_, {});
  refused_ = std::exchange(coming_refused_, {});
  open_now(out);
  if (std::exchange(relist_, false) && phase_ == phase::open)
    list(out, {}, now);
}

void mcp_session::open_now(mcp_actions& out) {
  const bool first = phase_ != phase::open;
  phase_ = phase::open;
  out.push_back(mcp_listed{});
  if (first && tells_changes_ && modern_)
    listen(out);
}

void mcp_session::listen(mcp_actions& out) {
  request(out, purpose::listen, "subscriptions/listen", {{"notifications", {{"toolsListChanged", true}}}}, std::nullopt);
}

// --- calls ---------------------------------------------------------------------------------------------------------

const mcp_tool* mcp_session::tool_named(const std::string& name) const {
  const auto found = std::find_if(tools_.begin(), tools_.end(), [&](const mcp_tool& each) { return each.name == name; });
  return found == tools_.end() ? nullptr : &*found;
}

mcp_actions mcp_session::call(mcp_call wanted, time_point now) {
  mcp_actions out;
  const auto id = wanted.id;
  if (tool_named(wanted.tool) == nullptr) {
    out.push_back(mcp_answer{id, ended(tool_status::failed, who() + " does not offer " + in_quotes(wanted.tool) + " any more")});
    return out;
  }
  const auto until = now + wanted.timeout;
  auto& which = calls_[id] = running{std::move(wanted), until, 0, 0, {}};
  if (options_.ping.count() > 0 && !options_.http) {
    // Half-way through its time: what it would miss then is known before the next call, which waits for that, has used up its own.
    const auto first = now + std::min(options_.ping, which.wanted.timeout / 2);
    ping_at_ = ping_at_ ? std::min(*ping_at_, first) : first;
  }
  send_call(out, which, json::object());
  return out;
}

void mcp_session::send_call(mcp_actions& out, running& which, const json& more) {
  json params{{"name", which.wanted.tool}, {"arguments", which.wanted.arguments}};
  params["_meta"] = {{"progressToken", next_id_}};
  if (!which.wanted.idempotency_key.empty())
    params["_meta"]["troupe/idempotencyKey"] = which.wanted.idempotency_key;
  params.update(more);
  which.request = request(out, purpose::call, "tools/call", std::move(params), which.until, which.wanted.id);
}

void mcp_session::end_call(mcp_actions& out, std::uint64_t call, tool_outcome outcome) {
  const auto found = calls_.find(call);
  if (found == calls_.end())
    return;
  pending_.erase(found->second.request);
  calls_.erase(found);
  if (calls_.empty())
    ping_at_.reset();
  out.push_back(mcp_answer{call, std::move(outcome)});
}

/// It ends before the server has answered: the server is told, and may be one that hangs.
void mcp_session::abandon_call(mcp_actions& out, std::uint64_t call, tool_outcome outcome, const char* reason, time_point now) {
  const auto found = calls_.find(call);
  if (found == calls_.end())
    return;
  const auto id = found->second.request;
  if (options_.http)
    out.push_back(mcp_drop{id});
  if (!options_.http || !modern_)
    out.push_back(mcp_send{0, mcp_notification("notifications/cancelled", {{"requestId", id}, {"reason", reason}}),
                           headers_of("notifications/cancelled", {}), false});
  if (!options_.http && options_.ping.count() > 0) {
    suspected_ = true;
    ping(out, now);
  }
  end_call(out, call, std::move(outcome));
}

mcp_actions mcp_session::cancel(std::uint64_t call, time_point now) {
  mcp_actions out;
  abandon_call(out, call, ended(tool_status::cancelled, "it was cancelled"), "cancelled", now);
  return out;
}

/// One at a time: nothing came since the one that is out.
void mcp_session::ping(mcp_actions& out, time_point now) {
  if (pinged_)
    return;
  // The stateless era has no ping; discovering asks as little.
  pinged_ = request(out, purpose::ping, modern_ ? "server/discover" : "ping", json::object(), now + options_.ping);
}

/// Any word answers a ping.
void mcp_session::heard(mcp_actions& out) {
  if (const auto ping = std::exchange(pinged_, std::nullopt))
    pending_.erase(*ping);
  if (std::exchange(suspected_, false))
    out.push_back(mcp_ready{});
}

void mcp_session::call_answered(mcp_actions& out, std::uint64_t call, mcp_message& message) {
  const auto found = calls_.find(call);
  if (found == calls_.end())
    return;
  if (message.what == mcp_message::kind::error) {
    end_call(out, call,
             ended(tool_status::failed, who() + " answered with error " + std::to_string(message.code) + ": " + short_text(message.text)));
    return;
  }
  const auto kind = member(message.result, "resultType");
  if (kind == "input_required") {
    input_required(out, found->second, message.result);
    return;
  }
  if (!kind.is_null() && kind != "complete") {
    end_call(out, call, ended(tool_status::failed, who() + " answered with a result of an unknown type " + short_text(kind.dump())));
    return;
  }
  const auto* tool = tool_named(found->second.wanted.tool);
  end_call(out, call, mcp_outcome(who(), tool != nullptr ? *tool : mcp_tool{}, message.result, options_.output_bytes));
}

/// The server wants to know something first (MRTR): it is told what we tell, and the call goes on as a new request.
void mcp_session::input_required(mcp_actions& out, running& which, const json& result) {
  const auto call = which.wanted.id;
  if (++which.rounds > input_rounds_max) {
    end_call(
        out, call,
        ended(tool_status::failed, who() + " asked for input " + std::to_string(input_rounds_max) + " times and still is not content"));
    return;
  }
  json more = json::object();
  if (const auto asks = member(result, "inputRequests"); asks.is_object()) {
    json answers = json::object();
    for (const auto& [key, ask] : asks.items()) {
      if (string_member(ask, "method") != "elicitation/create") {
        end_call(out, call,
                 ended(tool_status::failed, who() + " asks for " + in_quotes(string_member(ask, "method")) + ", which we never offered"));
        return;
      }
      answers[key] = elicited(member(ask, "params"));
    }
    more["inputResponses"] = std::move(answers);
  } else if (!result.contains("requestState")) {
    end_call(out, call, ended(tool_status::failed, who() + " asks for input and does not say for which"));
    return;
  }
  if (const auto state = result.find("requestState"); state != result.end())
    more["requestState"] = *state;
  send_call(out, which, more);
}

/// Nobody is there to be asked: a form is declined, or sent back with the defaults that it came with.
json mcp_session::elicited(const json& params) const {
  const auto mode = string_member(params, "mode");
  if (!options_.answer_with_defaults || (!mode.empty() && mode != "form"))
    return {{"action", "decline"}};
  json content = json::object();
  const auto schema = member(params, "requestedSchema");
  if (const auto fields = member(schema, "properties"); fields.is_object())
    for (const auto& [name, field] : fields.items())
      if (field.is_object() && field.contains("default"))
        content[name] = field["default"];
  if (const auto required = member(schema, "required"); required.is_array())
    for (const auto& name : required)
      if (!name.is_string() || !content.contains(name.get<std::string>()))
        return {{"action", "decline"}};
  return {{"action", "accept"}, {"content", std::move(content)}};
}

// --- receiving -----------------------------------------------------------------------------------------------------

mcp_actions mcp_session::receive(mcp_message message, time_point now) {
  mcp_actions out;
  if (phase_ == phase::broken)
    return out;
  heard(out);
  switch (message.what) {
  case mcp_message::kind::request:
    asked(out, message);
    break;
  case mcp_message::kind::notification:
    noticed(out, message, now);
    break;
  case mcp_message::kind::result:
  case mcp_message::kind::error:
    if (message.id.is_number_integer())
      answered(out, message.id.get<std::int64_t>(), message, now);
    break; // an id that is none of ours: late, or an error about nothing that can be told
  }
  return out;
}

void mcp_session::answered(mcp_actions& out, std::int64_t id, mcp_message& message, time_point now) {
  const auto found = pending_.find(id);
  if (found == pending_.end())
    return; // late: it was cancelled, or its time was up
  const auto what = found->second;
  const bool good = message.what == mcp_message::kind::result;
  const auto words = std::to_string(message.code) + ": " + short_text(message.text);
  if (what.what == purpose::call) {
    pending_.erase(found);
    call_answered(out, what.call, message);
    return;
  }
  pending_.erase(found);
  switch (what.what) {
  case purpose::discover:
    if (phase_ != phase::discovering)
      break;
    if (good)
      discovered(out, message.result, now);
    else
      discover_failed(out, message.code, message.data, words, now);
    break;
  case purpose::initialize:
    if (good)
      initialized(out, message.result, now);
    else if (const auto supported = member(message.data, "supported"); supported.is_array())
      choose_version(out, supported, now);
    else
      breaks(out, {error_code::unavailable, who() + " refused to be initialized: " + words, {}});
    break;
  case purpose::greet:
    greeted(out, now);
    break;
  case purpose::list:
    if (good)
      listed(out, message.result, now);
    else if (message.code == method_not_found && phase_ == phase::listing)
      open_now(out);
    else
      breaks(out, {error_code::unavailable, who() + " does not list its tools: " + words, {}});
    break;
  case purpose::listen:
    if (good) // it ended the stream in good order
      listen_at_ = now + listen_pause_;
    break;
  case purpose::ping:
  case purpose::call:
    break;
  }
}

/// Servers of the handshake era may ask us, too.
void mcp_session::asked(mcp_actions& out, const mcp_message& message) {
  if (modern_ && phase_ != phase::discovering)
    return; // this era has no such requests, and must not be answered
  json answer;
  if (message.method == "ping")
    answer = mcp_result(message.id, json::object());
  else if (message.method == "elicitation/create")
    answer = mcp_result(message.id, elicited(message.params));
  else
    answer = mcp_error(message.id, method_not_found, "this client does not offer " + short_text(message.method, 60));
  out.push_back(mcp_send{0, std::move(answer), headers_of("", {}), false});
}

void mcp_session::noticed(mcp_actions& out, const mcp_message& message, time_point now) {
  if (message.method == "notifications/tools/list_changed") {
    const bool under_way =
        std::any_of(pending_.begin(), pending_.end(), [](const auto& each) { return each.second.what == purpose::list; });
    if (phase_ != phase::open && phase_ != phase::listing)
      return;
    if (under_way)
      relist_ = true;
    else
      list(out, {}, now);
  } else if (message.method == "notifications/progress") {
    const auto token = member(message.params, "progressToken");
    for (auto& [id, call] : calls_)
      if (token == call.request) {
        const auto total = member(message.params, "total");
        call.progress = short_text(member(message.params, "progress").dump() + (total.is_null() ? "" : " of " + total.dump()));
        if (const auto words = string_member(message.params, "message"); !words.empty())
          call.progress += ": " + short_text(words, 300);
      }
  }
}

// --- ends ----------------------------------------------------------------------------------------------------------

mcp_actions mcp_session::garbage(const std::string& what) {
  mcp_actions out;
  breaks(out, {error_code::unavailable, who() + " sent what is no message: " + short_text(what), {}});
  return out;
}

mcp_actions mcp_session::lost(const error& why) {
  mcp_actions out;
  breaks(out, why);
  return out;
}

mcp_actions mcp_session::taken(std::int64_t id, time_point now) {
  mcp_actions out;
  if (const auto found = pending_.find(id); found != pending_.end() && found->second.what == purpose::greet) {
    pending_.erase(found);
    greeted(out, now);
  }
  return out;
}

mcp_actions mcp_session::request_failed(std::int64_t id, const mcp_http_failure& failure, time_point now) {
  mcp_actions out;
  const auto found = pending_.find(id);
  if (found == pending_.end() || phase_ == phase::broken)
    return out;
  // An error's status comes with a body that says more.
  if (auto messages =
          failure.body.empty() ? expected<std::vector<mcp_message>>(fail(error_code::not_found, {})) : parse_mcp_messages(failure.body);
      messages && messages->size() == 1 && messages->front().what == mcp_message::kind::error && !failure.needs_login
      && !failure.session_gone) {
    const bool modern_error = messages->front().code <= header_mismatch && messages->front().code >= -32099;
    if (failure.status < 500 && (modern_error || found->second.what != purpose::discover || failure.status == 404)) {
      answered(out, id, messages->front(), now);
      return out;
    }
  }
  const auto what = found->second;
  const error why{failure.needs_login ? error_code::permission_denied : error_code::unavailable, who() + ": " + failure.words, {}};
  if (failure.session_gone) {
    pending_.erase(found);
    if (const auto call = calls_.extract(what.call); !call.empty()) {
      auto& again = call.mapped();
      again.wanted.timeout = std::max(milliseconds{1}, std::chrono::duration_cast<milliseconds>(again.until - now));
      out.push_back(mcp_again{std::move(again.wanted)});
    }
    out.push_back(mcp_expired{});
  } else if (what.what == purpose::call) {
    end_call(out, what.call, ended(failure.sent && !failure.needs_login ? tool_status::in_doubt : tool_status::not_started, why.message));
  } else if (what.what == purpose::discover && failure.status >= 400 && failure.status < 500 && !failure.needs_login) {
    pending_.erase(found);
    discover_failed(out, 0, {}, failure.words, now);
  } else if (what.what == purpose::greet && !failure.needs_login) {
    pending_.erase(found);
    greeted(out, now); // whether that was meant, its next answer says
  } else if (what.what == purpose::listen) {
    pending_.erase(found);
    listen_at_ = now + listen_pause_;
    listen_pause_ = std::min(listen_pause_ * 2, milliseconds{300'000});
  } else {
    breaks(out, why);
  }
  return out;
}

void mcp_session::breaks(mcp_actions& out, error why) {
  if (phase_ == phase::broken)
    return;
  phase_ = phase::broken;
  pending_.clear();
  for (auto& [id, call] : std::exchange(calls_, {}))
    out.push_back(mcp_answer{id, ended(tool_status::in_doubt, why.message + "; this call was in flight then")});
  ping_at_.reset();
  pinged_.reset();
  suspected_ = false;
  out.push_back(mcp_broken{std::move(why)});
}

mcp_actions mcp_session::tick(time_point now) {
  mcp_actions out;
  std::vector<std::pair<std::int64_t, pending>> due;
  for (const auto& [id, each] : pending_)
    if (each.until && *each.until <= now)
      due.emplace_back(id, each);
  for (const auto& [id, each] : due) {
    if (pending_.count(id) == 0)
      continue;
    if (each.what == purpose::call) {
      const auto& call = calls_.at(each.call);
      abandon_call(out, each.call,
                   ended(tool_status::timed_out, who() + ": no answer within the timeout of " + std::to_string(call.wanted.timeout.count())
                                                     + " ms" + (call.progress.empty() ? "" : "; its last progress was " + call.progress)),
                   "timed out", now);
    } else if (each.what == purpose::discover && !options_.http && options_.protocol.empty()) {
      pending_.erase(id);
      initialize(out, mcp_legacy_versions[0], now);
    } else {
      breaks(out, {error_code::unavailable,
                   who()
                       + (each.what == purpose::ping ? " did not answer a ping within " + std::to_string(options_.ping.count()) + " ms"
                                                     : " did not answer within " + std::to_string(options_.open_timeout.count()) + " ms"),
                   {}});
    }
  }
  if (listen_at_ && *listen_at_ <= now && phase_ == phase::open) {
    listen_at_.reset();
    listen(out);
    list(out, {}, now); // what changed meanwhile was told to nobody
  }
  if (ping_at_ && *ping_at_ <= now && phase_ == phase::open) {
    ping_at_ = now + options_.ping;
    ping(out, now);
  }
  return out;
}

std::optional<time_point> mcp_session::next_tick() const {
  std::optional<time_point> next = ping_at_;
  if (listen_at_ && (!next || *listen_at_ < *next))
    next = listen_at_;
  for (const auto& [id, each] : pending_)
    if (each.until && (!next || *each.until < *next))
      next = each.until;
  return next;
}

} // namespace troupe::tools
