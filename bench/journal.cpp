// How many events a second become durable: N runs, each appends its next event when its last one is acknowledged.
//
//   bench_journal FOLDER [SECONDS] [EVENTS-A-RUN]
//
// The folder must be on the disk that is to be measured. CPU is the whole process's, user and system.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "troupe/store/sqlite.hpp"
#include "troupe/util/id.hpp"

#include "usage.hpp"

namespace {

using namespace troupe;
using clock_type = std::chrono::steady_clock;

/// One LLM step as a run records it, about 600 bytes a row with its answer.
class appender {
public:
  appender(store::journal& to, std::int64_t events_a_run, id_maker& ids, json_ptr configuration)
      : to_(to), events_a_run_(events_a_run), ids_(ids), configuration_(std::move(configuration)) {}

  void start(clock_type::time_point until, std::function<void()> ended) {
    until_ = until;
    ended_ = std::move(ended);
    next();
  }

  std::uint64_t failures = 0;
  std::vector<std::int64_t> latencies_us;

private:
  event_body body() {
    if (seq_ == 1) {
      run_started start;
      start.workflow = "bench";
      start.tenant = "default";
      start.configuration = configuration_;
      return start;
    }
    if (seq_ == events_a_run_)
      return run_finished{};
    if (seq_ % 2 == 0) {
      llm_requested asked;
      asked.step_id = "s" + std::to_string(seq_);
      asked.provider = "openai";
      asked.model = "gpt-4o";
      asked.worst_case = usd{61'000};
      asked.max_tokens = 4096;
      return asked;
    }
    llm_responded got;
    got.step_id = "s" + std::to_string(seq_ - 1);
    got.provider = "openai";
    got.model = "gpt-4o";
    chat_message message;
    message.from = role::assistant;
    message.text = std::string(400, 'a');
    got.message = std::make_shared<const chat_message>(std::move(message));
    got.cost = usd{1'234};
    got.usage = {812, 0, 0, 140};
    return got;
  }

  void next() {
    const auto now = clock_type::now();
    if (now >= until_)
      return ended_();
    if (seq_ == events_a_run_ || run_id_.empty()) {
      run_id_ = ids_.next(0);
      seq_ = 0;
    }
    ++seq_;
    auto e = std::make_shared<event>();
    e->seq = seq_;
    e->time_us = seq_;
    e->run_id = run_id_;
    e->task = "research";
    e->agent = "researcher";
    e->body = body();
    asked_ = now;
    to_.append({std::move(e)}, [this](expected<void> result) {
      if (!result)
        ++failures;
      latencies_us.push_back(std::chrono::duration_cast<std::chrono::microseconds>(clock_type::now() - asked_).count());
      next();
    });
  }

  store::journal& to_;
  std::int64_t events_a_run_;
  id_maker& ids_;
  json_ptr configuration_;
  std::string run_id_;
  std::int64_t seq_ = 0;
  clock_type::time_point until_, asked_;
  std::function<void()> ended_;
};

void measure(const std::string& folder, std::size_t appenders, double seconds, std::int64_t events_a_run, const json_ptr& configuration) {
  const std::string path = folder + "/bench-" + std::to_string(appenders) + ".db";
  for (const char* end : {"", "-wal", "-shm", "-lock"})
    std::filesystem::remove(path + end);
  store::sqlite_options options;
  options.path = path;
  auto opened = store::open_sqlite(options);
  if (!opened) {
    std::fprintf(stderr, "%s\n", opened.error().text().c_str());
    std::exit(1);
  }
  id_maker ids;
  std::vector<std::unique_ptr<appender>> all;
  for (std::size_t i = 0; i < appenders; ++i)
    all.push_back(std::make_unique<appender>(**opened, events_a_run, ids, configuration));
  std::mutex mutex;
  std::condition_variable ready;
  std::size_t ended = 0;
  const double cpu_before = bench::cpu_seconds();
  const auto begun = clock_type::now();
  const auto until = begun + std::chrono::duration_cast<clock_type::duration>(std::chrono::duration<double>(seconds));
  for (auto& each : all)
    each->start(until, [&] {
      const std::lock_guard guard(mutex);
      if (++ended == appenders)
        ready.notify_one();
    });
  {
    std::unique_lock lock(mutex);
    ready.wait(lock, [&] { return ended == appenders; });
  }
  const double took = std::chrono::duration<double>(clock_type::now() - begun).count();
  const double cpu = bench::cpu_seconds() - cpu_before;
  const auto stats = (*opened)->stats();
  std::vector<std::int64_t> latencies;
  for (const auto& each : all)
    latencies.insert(latencies.end(), each->latencies_us.begin(), each->latencies_us.end());
  std::sort(latencies.begin(), latencies.end());
  const auto at = [&](double share) {
    return latencies.empty() ? 0 : latencies[static_cast<std::size_t>(share * static_cast<double>(latencies.size() - 1))];
  };
  opened->reset();
  const auto events = static_cast<double>(stats.events);
  std::printf("%9zu %12.0f %9.0f %12.1f %12.2f %9lld %9lld %12.0f\n", appenders, events / took, static_cast<double>(stats.commits) / took,
              events / static_cast<double>(std::max<std::uint64_t>(stats.commits, 1)), cpu * 1e6 / std::max(events, 1.0),
              static_cast<long long>(at(0.5)), static_cast<long long>(at(0.99)),
              static_cast<double>(std::filesystem::file_size(path)) / std::max(events, 1.0));
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench_journal FOLDER [SECONDS] [EVENTS-A-RUN]\n");
    return 2;
  }
  const double seconds = argc > 2 ? std::atof(argv[2]) : 3;
  const std::int64_t events_a_run = argc > 3 ? std::atoll(argv[3]) : 10;
  json configuration{{"agents", json::object()}};
  for (int i = 0; i < 30; ++i)
    configuration["agents"]["agent" + std::to_string(i)] = {
        {"model", "careful"}, {"system", std::string(800, 's')}, {"tools", {"grep", "read_file"}}};
  for (const auto& kept : {json_ptr(), std::make_shared<const json>(configuration)}) {
    std::printf("%s\n%9s %12s %9s %12s %12s %9s %9s %12s\n", !kept ? "runs without a configuration" : "runs of one 30 kB configuration",
                "appenders", "events/s", "commits/s", "rows/commit", "us CPU/event", "p50 us", "p99 us", "bytes/event");
    for (const std::size_t appenders : {1u, 64u, 1000u})
      measure(argv[1], appenders, seconds, events_a_run, kept);
  }
  return 0;
}
