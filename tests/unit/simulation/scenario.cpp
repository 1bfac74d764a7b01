#include "simulation/scenario.hpp"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <sstream>

#include <spdlog/spdlog.h>

#include "test.hpp"
#include "troupe/model/described.hpp"
#include "troupe/model/event_types.hpp"
#include "troupe/policy/budget_ledger.hpp"
#include "troupe/policy/replay.hpp"

namespace troupe::simulation {

namespace {

const std::string run_id = "simulated";
constexpr std::int64_t events_max = 50'000;

std::shared_ptr<const configuration> load(const std::string& file) {
  auto loaded = config::load(file);
  if (!loaded.value)
    throw std::runtime_error(loaded.text());
  return std::make_shared<const configuration>(std::move(*loaded.value));
}

/// Takes the run up where a process left it. False: it has ended, nothing is left to do.
bool take_up(process& in, world& of, const scenario& what) {
  const auto found = of.disk.find(run_id);
  if (found == of.disk.end()) { // nothing of it was ever durable
    in.start(run_id, what.workflow, what.input);
    return true;
  }
  if (policy::rebuild_run(found->second).ended)
    return false;
  in.resume(run_id);
  return true;
}

void check_reservations(process& in, const actors::budget_guard_actor& guard, std::vector<std::string>& broken) {
  const auto report = in.ask_now<actors::budget_report>(guard, actors::budget_query{});
  if (!report) {
    broken.push_back("the budget guard does not answer");
    return;
  }
  for (const auto& scope : *report->scopes)
    if (scope.reserved != spend{})
      broken.push_back("scope \"" + scope.scope + "\" still holds " + to_string(scope.reserved.money) + " and "
                       + std::to_string(scope.reserved.steps) + " steps");
}

std::string judge_as_completed(const run_summary& summary, const json& wanted) {
  if (summary.status != run_status::completed)
    return std::string("the run ended as ") + name_of(summary.status) + " (" + summary.reason + ")";
  if (summary.result != wanted)
    return "its result is " + summary.result.dump() + " and not " + wanted.dump();
  return {};
}

void show(const play_result& played) {
  for (const auto& line : played.trace)
    std::cout << line << '\n';
  for (const auto& e : played.events)
    std::cout << e->seq << ' ' << e->time_us << ' ' << e->task << ' ' << event_type_names()[e->body.index()] << ' '
              << std::visit([](const auto& body) { return to_document(body).dump(); }, e->body).substr(0, 300) << '\n';
}

} // namespace

stage::stage(scenario what)
    : what_(std::move(what)),
      files_({{"troupe.yaml", what_.config}, {"script.yaml", what_.script}}), around_{load(files_.file("troupe.yaml")),
                                                                                      files_.file("script.yaml"), what_.tools} {
  around_.any_latency = what_.any_latency;
  around_.latency_of = what_.latency_of;
  spdlog::set_level(spdlog::level::off);
}

play_result stage::play(const std::vector<crash_point>& crashes, bool keep_trace) const {
  play_result out;
  world outside(around_);
  auto running = std::make_unique<process>(outside, what_.seed);
  running->keep_trace = keep_trace;
  running->start(run_id, what_.workflow, what_.input);
  const auto leave = [&] {
    out.lengths.push_back(running->events());
    out.digest = out.digest * 31 + running->digest();
    out.trace.insert(out.trace.end(), running->trace().begin(), running->trace().end());
  };
  bool cancelled = false;
  const auto next_process = [&](last_words kept) {
    running->cut_off(kept);
    out.lengths.push_back(running->events());
    running.reset();
    running = std::make_unique<process>(outside, what_.seed + out.crashes);
    running->keep_trace = keep_trace;
    return take_up(*running, outside, what_);
  };
  for (;;) {
    if (running->ended()) {
      // Without its journal a run is left as it is: the next process goes on.
      if (running->ended()->failure.code == error_code::none || out.crashes == 0 || !next_process(last_words::written))
        break;
      continue;
    }
    if (out.crashes < crashes.size() && running->events() >= crashes[out.crashes].at) {
      const auto& kind = crashes[out.crashes++].kind;
      if (keep_trace)
        out.trace.insert(out.trace.end(), running->trace().begin(), running->trace().end()), out.trace.push_back("*** " + kind.name);
      if (kind.whom) {
        running->crash(*kind.whom);
        continue;
      }
      if (!next_process(kind.kept))
        break;
      continue;
    }
    if (what_.cancel_at && !cancelled && running->events() >= *what_.cancel_at) {
      cancelled = true;
      caf::anon_send(running->orchestrator(), actors::cancel_run{"cancelled"});
    }
    if (!running->step() || running->events() > events_max) {
      outside.broken.push_back("the run does not end: " + std::to_string(running->events()) + " events, and no answer");
      break;
    }
  }
  if (running->ended()) {
    // Whatever was on its way may arrive: nothing of it may hold money any more.
    for (int i = 0; i < 200 && running->step(); ++i) {
    }
    check_reservations(*running, running->guard(), outside.broken);
  }
  leave();
  running.reset();
  out.events = outside.disk[run_id];
  metrics::run_fold fold;
  for (const auto& e : out.events)
    fold.apply(*e);
  out.summary = fold.summary();
  out.broken = broken_promises(out.events, outside);
  out.starts_of_call = outside.starts_of_call;
  out.starts_of_tool = outside.starts_of_tool;
  return out;
}

std::vector<crash_kind> process_crashes() {
  return {{"process-lost", std::nullopt, last_words::lost},
          {"process-one-written", std::nullopt, last_words::one_written},
          {"process-written", std::nullopt, last_words::written}};
}

namespace {

/// After so many failing points of one kind the others are not tried.
constexpr int failures_told = 5;

/// One scenario, and the point that TROUPE_CRASH asks for.
class sweep {
public:
  struct result {
    std::size_t crashes = 0;
    bool failed = false;
  };

  explicit sweep(const scenario& what) : what_(what), on_(with_seed(what)), undisturbed_(on_.play()) {
    if (const auto* only = std::getenv("TROUPE_CRASH")) {
      std::istringstream words(only);
      words >> only_scenario_ >> only_kind_;
      for (std::int64_t at = 0; words >> at;)
        only_at_.push_back(at);
    }
  }

  bool all() const { return only_scenario_.empty(); }
  /// The events of the one point that is wanted, where it is of this scenario and kind; else nothing.
  std::vector<std::int64_t> only(const std::string& kind, std::size_t count) const {
    return only_scenario_ == what_.name && only_kind_ == kind && only_at_.size() == count ? only_at_ : std::vector<std::int64_t>{};
  }

  void check_undisturbed() const { tell("none", problems_of(undisturbed_, false)); }

  result check(const std::string& kind, const std::vector<crash_point>& crashes) const {
    auto name = kind;
    for (const auto& crash : crashes)
      name += ' ' + std::to_string(crash.at);
    const auto played = on_.play(crashes, !all());
    if (!all())
      show(played);
    const auto problems = played.crashes == 0 ? std::vector<std::string>{} : problems_of(played, crashes.front().kind.may_fail);
    tell(name, problems);
    return {played.crashes, !problems.empty()};
  }

private:
  static scenario with_seed(scenario what) {
    if (const auto* seed = std::getenv("TROUPE_SEED"))
      what.seed = std::strtoull(seed, nullptr, 10);
    return what;
  }

  std::vector<std::string> problems_of(const play_result& played, bool may_fail) const {
    auto problems = played.broken;
    auto wrong = what_.judge ? what_.judge(played.summary) : judge_as_completed(played.summary, undisturbed_.summary.result);
    if (may_fail && played.summary.status == run_status::failed)
      wrong = played.summary.reason.empty() ? "it failed without a reason" : "";
    if (!wrong.empty())
      problems.push_back(wrong);
    return problems;
  }

  void tell(const std::string& point, const std::vector<std::string>& problems) const {
    for (const auto& problem : problems)
      CAF_TEST_PRINT_ERROR("TROUPE_CRASH=\"" << what_.name << " " << point << "\": " << problem);
    CHECK(problems.empty());
  }

  const scenario& what_;
  stage on_;
  play_result undisturbed_;
  std::string only_scenario_, only_kind_;
  std::vector<std::int64_t> only_at_;
};

/// Of the points at which something crashes only each TROUPE_CRASH_STRIDE-th is tried (1): under a sanitizer a play takes long, and
/// `./check` tries all of them without one.
std::int64_t crash_stride() {
  const auto* wanted = std::getenv("TROUPE_CRASH_STRIDE");
  return std::max<std::int64_t>(1, wanted ? std::strtoll(wanted, nullptr, 10) : 1);
}

} // namespace

std::int64_t crash_everywhere(const scenario& what, const std::vector<crash_kind>& kinds) {
  const sweep over(what);
  const auto stride = crash_stride();
  std::int64_t plays = 1;
  if (over.all())
    over.check_undisturbed();
  for (const auto& kind : kinds) {
    if (const auto only = over.only(kind.name, 1); !only.empty())
      over.check(kind.name, {{kind, only[0]}});
    int failures = 0;
    for (std::int64_t at = 0; over.all() && failures < failures_told; at += stride, ++plays) {
      const auto met = over.check(kind.name, {{kind, at}});
      if (met.crashes == 0)
        break;
      failures += met.failed ? 1 : 0;
    }
  }
  return plays;
}

std::int64_t crash_twice(const scenario& what, const crash_kind& kind, std::int64_t stride) {
  const sweep over(what);
  const auto name = kind.name + "-twice";
  if (const auto only = over.only(name, 2); !only.empty())
    over.check(name, {{kind, only[0]}, {kind, only[1]}});
  std::int64_t plays = 0;
  int failures = 0;
  for (std::int64_t first = 0; over.all() && failures < failures_told; first += stride)
    for (std::int64_t second = 0; failures < failures_told; second += crash_stride(), ++plays) {
      const auto met = over.check(name, {{kind, first}, {kind, second}});
      if (met.crashes == 0)
        return plays;
      if (met.crashes == 1)
        break;
      failures += met.failed ? 1 : 0;
    }
  return plays;
}

} // namespace troupe::simulation
