// The traces of tests/data/loops, played to the detector: loops are found where each trace says, at no other moment, and honest work never.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "troupe/config/yaml_reader.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/handoff_cycle.hpp"
#include "troupe/policy/loop_watch.hpp"

#include "test.hpp"

TROUPE_SUITE(loop_corpus)

using namespace troupe;
using namespace troupe::policy;

namespace {

struct made_call {
  observed_call asked;
  observed_result came;
};

json read_corpus(const std::filesystem::path& file) {
  std::ifstream from(file);
  std::ostringstream text;
  text << from.rdbuf();
  config::problem_list problems;
  auto document = config::read_text(text.str(), file.filename().string(), problems);
  REQUIRE(problems.empty());
  return std::move(document.value);
}

/// 'TOOL ARGUMENTS => OUTCOME'
made_call call_of(const std::string& line, const json& tools) {
  const auto arrow = line.rfind(" => ") == std::string::npos ? line.rfind(" =>") : line.rfind(" => ");
  REQUIRE(arrow != std::string::npos);
  const auto blank = line.find(' ');
  const auto tool = line.substr(0, blank);
  const auto arguments = line.substr(blank + 1, arrow - blank - 1);
  auto outcome = line.substr(std::min(line.size(), arrow + 4));
  const auto spec = tools.value(tool, json::object());
  made_call made;
  made.asked = {call_sign(tool, arguments, spec.value("loop_ignore", std::vector<std::string>())), tool_sign(tool),
                spec.value("effect", "once") == "none", spec.value("polling", false), spec.value("idle", false)};
  const auto mark = outcome.empty() ? ' ' : outcome.front();
  if (mark == '!' || mark == '#')
    outcome.erase(0, 2);
  made.came = {outcome_sign(outcome), mark != '!' && mark != '#', mark != '#', mark != '!' && mark != '#' && is_hollow(outcome)};
  return made;
}

std::string words(const char* kind, std::int64_t step, std::size_t call) {
  return std::string(kind) + " at " + std::to_string(step) + (call > 0 ? "." + std::to_string(call + 1) : "");
}

/// Plays the steps as an agent does: calls are judged before they run, outcomes before the next response where the verdict asks for them.
std::string play(const json& steps, const json& tools) {
  loop_watch watch;
  handoff_cycle hand_offs;
  std::vector<observed_result> earlier;
  std::int64_t number = 0;
  for (const auto& written : steps) {
    const bool repeated = written.is_object() && written.contains("do");
    for (int left = repeated ? written.at("times").get<int>() : 1; left > 0; --left) {
      const auto& step = repeated ? written.at("do") : written;
      ++number;
      if (step.contains("from")) {
        const auto ruling = hand_offs.pass(step.at("from"), step.at("to"), step.at("say"),
                                           step.contains("found") ? outcome_sign(step.at("found").get<std::string>()) : 0);
        if (ruling != handoff_ruling::pass)
          return words(ruling == handoff_ruling::cycle ? "cycle" : "too_many", number, 0);
        continue;
      }
      loop_step seen{.number = number, .earlier = std::exchange(earlier, {})};
      std::vector<observed_result> results;
      if (step.is_object()) {
        seen.said = sketch_of(step.at("say").get<std::string>());
        seen.reply = outcome_sign(step.at("reply").get<std::string>());
      } else {
        for (const auto& line : step.is_array() ? step : json::array({step})) {
          auto made = call_of(line, tools);
          seen.calls.push_back(made.asked);
          results.push_back(made.came);
        }
      }
      auto verdict = watch.observe(seen);
      if (!verdict.found && verdict.report_results)
        verdict = watch.observe({.number = number, .results = results});
      else
        earlier = results;
      if (verdict.found)
        return words(name_of(verdict.found->kind), number, verdict.found->kind == loop_kind::no_progress ? 0 : verdict.found->call);
    }
  }
  // What the last outcomes would have brought had to be asked for.
  CHECK(!watch.observe({.number = number, .results = earlier}).found);
  return "none";
}

} // namespace

TROUPE_TEST("each trace of the corpus is judged as it says: loops at the first moment, honest work never") {
  int loops = 0, honest = 0;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(TROUPE_SOURCE_DIR "/tests/data/loops"))
    if (entry.path().extension() == ".yaml")
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    const auto document = read_corpus(file);
    for (const auto& trace : document.at("traces")) {
      IN_ROW(file.filename().string() + ": " + trace.at("name").get<std::string>());
      CHECK_EQ(play(trace.at("steps"), document.at("tools")), trace.at("loop").get<std::string>());
      ++(trace.at("loop") == "none" ? honest : loops);
    }
  }
  CHECK(loops >= 30);
  CHECK(honest >= 30);
}

TROUPE_TEST("an agent that goes on as before climbs the ladder where the trace says") {
  int traces = 0;
  for (const auto& entry : std::filesystem::directory_iterator(TROUPE_SOURCE_DIR "/tests/data/loops")) {
    if (entry.path().extension() != ".yaml")
      continue;
    const auto document = read_corpus(entry.path());
    for (const auto& trace : document.at("traces")) {
      if (!trace.contains("rungs"))
        continue;
      IN_ROW(trace.at("name").get<std::string>());
      loop_watch watch;
      std::int64_t number = 0;
      auto rungs = json::array();
      for (const auto& line : trace.at("steps")) {
        const auto made = call_of(line, document.at("tools"));
        const auto asked = watch.observe({.number = ++number, .calls = {made.asked}});
        const auto brought = watch.observe({.number = number, .results = {made.came}});
        if (asked.found || brought.found)
          rungs.push_back(number);
      }
      CHECK_EQ(rungs, trace.at("rungs"));
      ++traces;
    }
  }
  CHECK(traces >= 2);
}

TROUPE_TEST("a trace is judged the same when all outcomes are told at once") {
  for (const auto& entry : std::filesystem::directory_iterator(TROUPE_SOURCE_DIR "/tests/data/loops")) {
    if (entry.path().extension() != ".yaml")
      continue;
    const auto document = read_corpus(entry.path());
    for (const auto& trace : document.at("traces")) {
      loop_watch watch;
      std::int64_t number = 0;
      std::string got = "none";
      for (const auto& written : trace.at("steps")) {
        if (written.is_object() && !written.contains("do"))
          continue;
        const bool repeated = written.is_object();
        for (int left = repeated ? written.at("times").get<int>() : 1; left > 0 && got == "none"; --left) {
          loop_step seen{.number = ++number};
          const auto& step = repeated ? written.at("do") : written;
          for (const auto& line : step.is_array() ? step : json::array({step})) {
            auto made = call_of(line, document.at("tools"));
            seen.calls.push_back(made.asked);
            seen.results.push_back(made.came);
          }
          if (const auto verdict = watch.observe(seen); verdict.found)
            got = words(name_of(verdict.found->kind), number, verdict.found->kind == loop_kind::no_progress ? 0 : verdict.found->call);
        }
      }
      if (!trace.at("steps").front().is_object() || trace.at("steps").front().contains("do")) {
        IN_ROW(trace.at("name").get<std::string>());
        CHECK_EQ(got, trace.at("loop").get<std::string>());
      }
    }
  }
}
