#pragma once
// What tests of journals share: a folder that goes away, events, and appending with an answer.

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "troupe/model/described.hpp"
#include "troupe/store/memory.hpp"
#include "troupe/store/sqlite.hpp"

namespace troupe::test {

class temporary_folder {
public:
  temporary_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "troupe-test-XXXXXX").string();
    if (!::mkdtemp(name.data()))
      std::abort();
    path_ = name;
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

private:
  std::filesystem::path path_;
};

/// One value that another thread gives, once or several times.
template <class T>
class box {
public:
  void put(T value) {
    const std::lock_guard guard(mutex_);
    values_.push_back(std::move(value));
    ready_.notify_all();
  }
  /// The next value; waits for it.
  T take() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return taken_ < values_.size(); });
    return std::move(values_[taken_++]);
  }
  std::size_t count() {
    const std::lock_guard guard(mutex_);
    return values_.size();
  }

private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<T> values_;
  std::size_t taken_ = 0;
};

inline event_ptr make_event(std::string run_id, std::int64_t seq, event_body body, std::string task = {}, std::string agent = {}) {
  return std::make_shared<const event>(event{seq, 1'000'000 * seq, std::move(run_id), std::move(task), std::move(agent), std::move(body)});
}

inline event_ptr start_of(const std::string& run_id, json configuration = nullptr) {
  return make_event(
      run_id, 1,
      run_started{.workflow = "report",
                  .tenant = "acme",
                  .input = {{"topic", "x"}},
                  .total_tasks = 1,
                  .configuration = configuration.is_null() ? nullptr : std::make_shared<const json>(std::move(configuration))});
}

inline event_ptr filler(const std::string& run_id, std::int64_t seq) {
  return make_event(run_id, seq, message_injected{"text of event " + std::to_string(seq), "test"}, "research", "researcher");
}

inline expected<void> append(store::journal& to, std::vector<event_ptr> events) {
  box<expected<void>> answer;
  to.append(std::move(events), [&](expected<void> result) { answer.put(std::move(result)); });
  return answer.take();
}

/// Events `from` to `to` of a run.
inline std::vector<event_ptr> run_of(const std::string& run_id, std::int64_t from, std::int64_t to) {
  std::vector<event_ptr> events;
  for (auto seq = from; seq <= to; ++seq)
    events.push_back(seq == 1 ? start_of(run_id) : filler(run_id, seq));
  return events;
}

template <class T>
error_code code_of(const expected<T>& result) {
  return result ? error_code::none : result.error().code;
}

inline bool same(const event& a, const event& b) {
  return a.seq == b.seq && event_to_document(a) == event_to_document(b);
}

} // namespace troupe::test
