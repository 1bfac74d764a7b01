#pragma once
// SHARED STATE: what the agents of one run tell each other by key (SEMANTICS 6). Written with optimistic versions, as HTTP's If-Match or a
// compare-and-set does it: whoever writes says which version it has read; if another one has written meanwhile, nothing is written, and the
// second writer is told what the value is now, its version, and who wrote it.
//
// Rules
//   version      of a key, from 1, one more with each write; 0 stands for a key that nobody has written.
//   durable      a write is recorded (`state_written`) before anybody can read it; a run that is taken up has the state of its record.
//   repeated     a call that is made again after a crash has written already: it is told the version that it wrote then.
//   bounds       a key is 1 to 128 of A-Z a-z 0-9 _ . : / -; a value at most 64 KiB of JSON; 1,000 keys and 1 MiB a run.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>

#include "troupe/model/event.hpp"
#include "troupe/model/tool.hpp"

namespace troupe::policy {

inline constexpr std::size_t state_key_bytes_max = 128;
inline constexpr std::size_t state_value_bytes_max = std::size_t{64} << 10;
inline constexpr std::size_t state_keys_max = 1'000;
inline constexpr std::size_t state_bytes_max = std::size_t{1} << 20;

/// Guards itself; any thread.
class shared_state {
public:
  /// What stands in the run's record, in order.
  void restore(const state_written& written, const std::string& agent);
  /// { key, value, version, by }; of a key that nobody has written value null and version 0. An empty key: { keys: [ { key, version, by } ]
  /// }.
  json read(const std::string& key) const;
  /// All values, by key: what templates read.
  json values() const;
  /// Writes, if `version` is the key's. `record` is called before anybody can read what is written. The outcome is the tool's.
  tool_outcome write(const std::string& key, const json& value, std::int64_t version, const std::string& agent, const std::string& call,
                     const std::function<void(const state_written&)>& record);

private:
  struct stored {
    json value;
    std::int64_t version = 0;
    std::string agent;
    std::size_t bytes = 0;
  };

  mutable std::mutex mutex_; // guards what follows
  std::map<std::string, stored> entries_;
  std::unordered_map<std::string, std::int64_t> versions_by_call_;
  std::size_t bytes_ = 0;
};

} // namespace troupe::policy
