#pragma once
// A whole runtime in a test: a configuration from text, a journal in memory, runs to their end.

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "troupe/actors/runtime.hpp"
#include "troupe/config/load.hpp"
#include "troupe/metrics/run_summary.hpp"
#include "troupe/store/memory.hpp"

namespace troupe::test {

/// A folder with files that goes away with the test.
class folder {
public:
  explicit folder(const std::map<std::string, std::string>& files) {
    static std::atomic<int> count{0};
    path_ = std::filesystem::temp_directory_path() / ("troupe-test-" + std::to_string(::getpid()) + "-" + std::to_string(++count));
    for (const auto& [name, text] : files) {
      std::filesystem::create_directories((path_ / name).parent_path());
      std::ofstream(path_ / name, std::ios::binary) << text;
    }
  }
  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }

private:
  std::filesystem::path path_;
};

/// Runs workflows of one configuration in this process.
class company {
public:
  company(const std::string& config, const std::string& script, std::shared_ptr<store::journal> journal = store::open_memory())
      : files_({{"troupe.yaml", config}, {"script.yaml", script}}), journal_(std::move(journal)) {
    auto loaded = config::load(files_.file("troupe.yaml"));
    if (!loaded.value)
      throw std::runtime_error(loaded.text());
    actors::prepare(cfg_);
    cfg_.set("scheduler.max-threads", std::uint64_t{2});
    system_ = std::make_unique<caf::actor_system>(cfg_);
    auto made =
        actors::runtime::start(*system_, std::make_shared<const configuration>(std::move(*loaded.value)), {.journal = journal_, .seed = 7});
    if (!made)
      throw std::runtime_error(made.error().text());
    runtime_ = std::move(*made);
  }

  actors::runtime& runtime() { return *runtime_; }
  void end_runtime() { runtime_.reset(); }
  caf::actor_system& system() { return *system_; }
  store::journal& journal() { return *journal_; }

  /// Runs a workflow to its end.
  run_summary run(const std::string& workflow, json input = json::object(), bool approve_all = false) {
    return to_its_end(runtime_->start_run({.workflow = workflow, .input = std::move(input), .approve_all = approve_all}));
  }
  /// Goes on with a run to its end.
  run_summary resume(const std::string& run_id, const actors::run_additions& more) {
    return to_its_end(runtime_->resume_run(run_id, more));
  }

  template <class Body>
  std::size_t count() const {
    return static_cast<std::size_t>(
        std::count_if(events.begin(), events.end(), [](const auto& e) { return std::holds_alternative<Body>(e->body); }));
  }

  std::vector<event_ptr> events; ///< of the last run

private:
  run_summary to_its_end(expected<actors::started_run> started) {
    if (!started)
      throw std::runtime_error(started.error().text());
    caf::scoped_actor self{*system_};
    self->request(started->orchestrator, caf::infinite, actors::start_run{})
        .receive([](const actors::run_ended&) {}, [](const caf::error& reason) { throw std::runtime_error(actors::text_of(reason)); });
    runtime_->finish_run(started->run_id);
    events = *journal_->read_run(started->run_id);
    metrics::run_fold fold;
    for (const auto& e : events)
      fold.apply(*e);
    return fold.summary();
  }

  folder files_;
  std::shared_ptr<store::journal> journal_;
  caf::actor_system_config cfg_;
  std::unique_ptr<caf::actor_system> system_;
  std::unique_ptr<actors::runtime> runtime_;
};

} // namespace troupe::test
