// `troupe doctor`: tries for real what a configuration names, and tells what works, what does not and what to do.

#include "doctor.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include <unistd.h>

#include "command.hpp"
#include "output.hpp"
#include "session.hpp"
#include "timeline.hpp"
#include "troupe/model/described.hpp"
#include "troupe/util/redact.hpp"

namespace troupe::cli {

namespace {

struct doctor_arguments {
  std::string config;
  bool as_json = false;
  bool yes = false;
};

/// Whether those that cost something may be tried: it was said, or is said now.
bool may_spend(const std::vector<model_trial>& trials, const doctor_arguments& asked) {
  usd sum;
  std::size_t count = 0;
  bool known = true;
  for (const auto& each : trials)
    if (!each.free) {
      sum += each.at_most;
      known = known && each.price.known;
      ++count;
    }
  if (count == 0)
    return true;
  for (const auto& each : trials)
    if (!each.free)
      std::fprintf(stderr, "%s %s: one token costs at most %s\n", printable(each.provider, 60).c_str(), printable(each.model, 60).c_str(),
                   each.price.known ? to_string(each.at_most).c_str() : "an amount that the file does not say");
  std::fprintf(stderr, "%zu of the models cost money: %s%s together to ask each for one token.\n", count, known ? "at most " : "more than ",
               to_string(sum).c_str());
  if (asked.yes)
    return true;
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDERR_FILENO) == 0)
    return false;
  discard_typed();
  std::fputs("Ask them? [y/N] ", stderr);
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

/// Those that may be tried, and rows for the others.
findings check_models(doctor_kit& kit, const doctor_arguments& asked, usd& spent) {
  findings out;
  auto trials = plan_models(kit, out);
  if (!may_spend(trials, asked)) {
    for (const auto& each : trials)
      if (!each.free)
        out.push_back({"model", each.provider + " " + each.model, health::warn, "not tried: it costs money", "try it with --yes"});
    std::erase_if(trials, [](const model_trial& each) { return !each.free; });
  }
  auto tried = try_models(kit, trials, spent);
  out.insert(out.end(), std::make_move_iterator(tried.begin()), std::make_move_iterator(tried.end()));
  return out;
}

int status_of(const findings& all) {
  int status = status_completed;
  for (const auto& each : all)
    if (each.state == health::fail) {
      if (each.kind == "journal")
        return status_unavailable;
      status = status_failed;
    }
  return status;
}

int doctor(const doctor_arguments& asked) {
  const auto config = load_and_warn(asked.config);
  if (!config)
    return status_usage;
  auto all = check_environment(*config);
  const auto add = [&all](findings more) {
    all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  };
  add(check_journal(*config));
  doctor_kit kit(*config);
  add(check_sandbox(kit));
  add(check_tools(kit));
  usd spent;
  add(check_models(kit, asked, spent));
  for (auto& each : all)
    for (auto* text : {&each.name, &each.seen, &each.todo})
      *text = redacted(std::move(*text));
  const auto status = status_of(all);
  const auto count = [&all](health state) {
    return std::count_if(all.begin(), all.end(), [state](const finding& each) { return each.state == state; });
  };
  if (asked.as_json) {
    const json document{{"works", status == status_completed}, {"cost_usd", spent.dollars()}, {"checks", to_document(all)}};
    print_document(document);
    return status;
  }
  std::fputs(render_findings(all, terminal_width(STDOUT_FILENO), wants_colour(STDOUT_FILENO)).c_str(), stdout);
  std::printf("%s: %td work, %td with a warning, %td do not%s\n", printable(asked.config, 200).c_str(), count(health::ok),
              count(health::warn), count(health::fail), spent.micro > 0 ? ("; the models' answers cost " + to_string(spent)).c_str() : "");
  return status;
}

} // namespace

reachable::reachable(const configuration& config) {
  std::vector<std::string> open;
  for (const auto& [name, agent] : config.agents) {
    open.insert(open.end(), agent.tools.begin(), agent.tools.end());
    models.insert(agent.model);
  }
  while (!open.empty()) {
    const auto tool = config.tools.find(open.back());
    open.pop_back();
    if (tool != config.tools.end() && tools.insert(tool->first).second && !tool->second.alternative.empty())
      open.push_back(tool->second.alternative);
  }
  for (const auto& name : models)
    if (const auto model = config.models.find(name); model != config.models.end())
      for (const auto& link : model->second.chain)
        providers.insert(link.provider);
}

std::string shown(const configuration& config, const std::string& path) {
  const auto folder = config.folder + "/";
  return path.rfind(folder, 0) == 0 ? path.substr(folder.size()) : path;
}

doctor_kit::doctor_kit(const configuration& from) : config(from), used(from), environment{.loop = loop, .workers = workers} {
  environment.http = &http;
  environment.folder = config.folder;
  if (!config.journal.path.empty()) { // as a run hides it
    if (const auto parent = std::filesystem::path(config.journal.path).parent_path(); parent.filename() == ".troupe")
      environment.hidden.push_back(parent.string());
    for (const auto* suffix : {"", "-wal", "-shm", "-lock"})
      environment.hidden.push_back(config.journal.path + suffix);
  }
  environment.secret = [](const std::string& name) -> std::optional<std::string> {
    auto value = take_secret(name);
    return value ? std::optional(*value) : std::nullopt;
  };
}

std::string render_findings(const findings& all, std::size_t columns, bool colour) {
  std::size_t widest = 4;
  for (const auto& each : all)
    widest = std::max(widest, std::min<std::size_t>(each.kind.size() + 1 + each.name.size(), 40));
  const auto room = std::max<std::size_t>(columns, widest + 48) - widest - 8;
  const auto padded = [](std::string text, std::size_t to) { return text.append(to > text.size() ? to - text.size() : 0, ' '); };
  std::string out = padded("WHAT", widest) + "  STATE  WHAT WAS SEEN\n";
  for (const auto& each : all) {
    const auto state = std::string(name_of(each.state));
    const char* tint = each.state == health::ok ? "\x1B[32m" : each.state == health::warn ? "\x1B[33m" : "\x1B[31m";
    out += padded(printable(each.kind + " " + each.name, widest), widest) + "  " + (colour ? tint : "") + padded(state, 5)
           + (colour ? "\x1B[0m" : "") + "  " + printable(each.seen, each.state == health::ok ? room : 400) + "\n";
    if (!each.todo.empty())
      out += std::string(widest + 9, ' ') + "→ " + printable(each.todo, 400) + "\n";
  }
  return out;
}

void add_doctor(CLI::App& app, const global_options&, action& chosen) {
  auto asked = std::make_shared<doctor_arguments>();
  auto* command =
      app.add_subcommand("doctor", "Tries providers, tools and journal for real, and tells what to do about what does not work");
  command->add_option("CONFIG", asked->config, "Configuration file")->required();
  command->add_flag("--json", asked->as_json, "Print the checks as one JSON document");
  command->add_flag("--yes", asked->yes, "Ask models that cost money for one token without asking first");
  command->callback([asked, &chosen] { chosen = [asked] { return doctor(*asked); }; });
}

} // namespace troupe::cli
