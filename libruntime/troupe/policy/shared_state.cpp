#include "troupe/policy/shared_state.hpp"

#include <algorithm>
#include <string_view>

namespace troupe::policy {

namespace {

std::string text_of(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

bool is_key(std::string_view key) {
  return !key.empty() && key.size() <= state_key_bytes_max && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
           || std::string_view("_.:/-").find(c) != std::string_view::npos;
  });
}

tool_outcome refused(std::string why) {
  return {tool_status::failed, {}, std::move(why), 0, false};
}

tool_outcome written(const std::string& key, std::int64_t version) {
  return {tool_status::ok, text_of({{"key", key}, {"version", version}}), {}, 0, false};
}

} // namespace

void shared_state::restore(const state_written& from, const std::string& agent) {
  const std::lock_guard guard(mutex_);
  auto& entry = entries_[from.key];
  const auto bytes = text_of(from.value).size();
  bytes_ += bytes - entry.bytes;
  entry = {from.value, from.version, agent, bytes};
  versions_by_call_[from.call] = from.version;
}

json shared_state::read(const std::string& key) const {
  const std::lock_guard guard(mutex_);
  if (key.empty()) {
    auto keys = json::array();
    for (const auto& [name, entry] : entries_)
      keys.push_back({{"key", name}, {"version", entry.version}, {"by", entry.agent}});
    return {{"keys", std::move(keys)}};
  }
  const auto found = entries_.find(key);
  if (found == entries_.end())
    return {{"key", key}, {"value", nullptr}, {"version", 0}};
  return {{"key", key}, {"value", found->second.value}, {"version", found->second.version}, {"by", found->second.agent}};
}

json shared_state::values() const {
  const std::lock_guard guard(mutex_);
  auto out = json::object();
  for (const auto& [name, entry] : entries_)
    out[name] = entry.value;
  return out;
}

tool_outcome shared_state::write(const std::string& key, const json& value, std::int64_t version, const std::string& agent,
                                 const std::string& call, const std::function<void(const state_written&)>& record) {
  if (!is_key(key))
    return refused("a key is 1 to " + std::to_string(state_key_bytes_max) + " letters, digits, '_', '.', ':', '/' or '-'; this one is not");
  const auto bytes = text_of(value).size();
  if (bytes > state_value_bytes_max)
    return refused("the value has " + std::to_string(bytes) + " bytes, and at most " + std::to_string(state_value_bytes_max)
                   + " are kept under one key");
  const std::lock_guard guard(mutex_);
  if (const auto before = versions_by_call_.find(call); before != versions_by_call_.end())
    return written(key, before->second);
  const auto found = entries_.find(key);
  const auto now = found == entries_.end() ? stored{} : found->second;
  if (version != now.version) {
    if (now.version == 0)
      return refused("\"" + key + "\" was not written: nobody has written it yet, so give version 0 (you gave " + std::to_string(version)
                     + ")");
    return refused("\"" + key + "\" was not written: you gave version " + std::to_string(version) + ", and it is at version "
                   + std::to_string(now.version) + " now, written by agent \"" + now.agent + "\". Its value: " + text_of(now.value)
                   + ". Take that into account, and write again with version " + std::to_string(now.version));
  }
  if (now.version == 0 && entries_.size() >= state_keys_max)
    return refused("the run has " + std::to_string(state_keys_max) + " keys already, which is the most; write one of those");
  if (bytes_ - now.bytes + bytes > state_bytes_max)
    return refused("the run's state would have " + std::to_string(bytes_ - now.bytes + bytes) + " bytes, and at most "
                   + std::to_string(state_bytes_max) + " are kept");
  record({key, version + 1, value, call});
  bytes_ += bytes - now.bytes;
  entries_[key] = {value, version + 1, agent, bytes};
  versions_by_call_[call] = version + 1;
  return written(key, version + 1);
}

} // namespace troupe::policy
