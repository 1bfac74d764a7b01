// The environment's variables, and the journal with the disk below it.

#include <cstdlib>
#include <filesystem>
#include <future>
#include <map>

#include <sys/statvfs.h>
#include <unistd.h>

#include "doctor.hpp"
#include "session.hpp"
#include "troupe/model/event.hpp"
#include "troupe/store/sqlite.hpp"
#include "troupe/util/clock.hpp"

namespace troupe::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t free_bytes_low = std::int64_t{100} << 20;

std::string bytes_text(std::int64_t bytes) {
  if (bytes >= std::int64_t{10} << 30)
    return std::to_string(bytes >> 30) + " GiB";
  return std::to_string(bytes >> 20) + " MiB";
}

/// A folder below it that goes away with everything in it.
class scratch_folder {
public:
  explicit scratch_folder(const fs::path& below) : path_((below / ".troupe-doctor-XXXXXX").string()) {
    made_ = ::mkdtemp(path_.data()) != nullptr;
  }
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;
  ~scratch_folder() {
    std::error_code ignored;
    if (made_)
      fs::remove_all(path_, ignored);
  }
  bool made() const { return made_; }
  const std::string& path() const { return path_; }

private:
  std::string path_;
  bool made_ = false;
};

/// Where the journal is, or where it would be made.
fs::path nearest_folder(const fs::path& journal) {
  auto folder = journal.parent_path();
  std::error_code ignored;
  while (!fs::exists(folder, ignored) && folder.has_relative_path())
    folder = folder.parent_path();
  return folder;
}

/// One event, durable in a journal of its own beside the real one.
expected<std::int64_t> write_and_sync(const std::string& folder) {
  const auto journal = store::open_sqlite({.path = folder + "/journal.db"});
  if (!journal)
    return tl::unexpected(journal.error());
  auto written = std::make_shared<event>();
  written->seq = 1;
  written->time_us = utc_now_us();
  written->run_id = "doctor";
  written->body = run_interrupted{"doctor"};
  const auto began = monotonic_now();
  const auto promise = std::make_shared<std::promise<expected<void>>>();
  auto done = promise->get_future();
  (*journal)->append({std::move(written)}, [promise](expected<void> result) { promise->set_value(std::move(result)); });
  if (const auto result = done.get(); !result)
    return tl::unexpected(result.error());
  return std::chrono::duration_cast<std::chrono::microseconds>(monotonic_now() - began).count();
}

finding disk_row(const fs::path& folder) {
  finding out{"journal", "disk", health::ok, {}, {}};
  const scratch_folder scratch(folder);
  if (!scratch.made()) {
    out.state = health::fail;
    out.seen = "nothing can be written in \"" + folder.string() + "\"";
    out.todo = "allow it for this user, or choose another journal: { path: … }";
    return out;
  }
  const auto took = write_and_sync(scratch.path());
  if (!took) {
    out.state = health::fail;
    out.seen = took.error().text();
    out.todo = "see whether the disk has room and is well";
    return out;
  }
  struct statvfs space {};
  if (::statvfs(folder.c_str(), &space) != 0) {
    out.state = health::warn;
    out.seen = "an event is durable after " + std::to_string(*took / 1'000) + " ms; its free space is not told";
    return out;
  }
  const auto left = static_cast<std::int64_t>(space.f_bavail) * static_cast<std::int64_t>(space.f_frsize);
  out.seen = "an event is durable after " + std::to_string(*took / 1'000) + " ms; " + bytes_text(left) + " are free";
  if (left < free_bytes_low) {
    out.state = health::warn;
    out.todo = "make room: runs pause when the disk is full";
  }
  return out;
}

} // namespace

findings check_journal(const configuration& config) {
  findings out;
  const auto& path = config.journal.path;
  const auto name = shown(config, path);
  if (config.journal.kind != "sqlite") {
    const auto refused = open_journal(config, false);
    return {{"journal", config.journal.kind, refused ? health::ok : health::fail, refused ? "opens" : refused.error().message, {}}};
  }
  // Beside one that no process of this machine has written, or may, nothing is left.
  std::error_code ignored;
  const bool written_here = fs::exists(path + "-lock", ignored) && ::access(path.c_str(), W_OK) == 0;
  const auto opened = written_here ? open_journal(config, false) : look_at_journal(config);
  if (opened) {
    const auto runs = (*opened)->list_runs(1);
    if (!runs)
      out.push_back({"journal", name, health::fail, runs.error().message, {}});
    else if (::access(path.c_str(), W_OK) != 0)
      out.push_back({"journal", name, health::fail, "it can be read, not written", "allow this user to write it"});
    else
      out.push_back(
          {"journal", name, health::ok, runs->empty() ? "opens; no run yet" : "opens; the newest run is " + runs->front().run_id, {}});
  } else if (opened.error().code == error_code::not_found) {
    out.push_back({"journal", name, health::ok, "not there yet: the first run makes it", {}});
  } else {
    out.push_back({"journal", name, health::fail, opened.error().message, {}});
  }
  out.push_back(disk_row(nearest_folder(path)));
  return out;
}

findings check_environment(const configuration& config) {
  struct need {
    std::string who;
    bool in_use;
  };
  std::map<std::string, need> named;
  const reachable used(config);
  const auto name = [&named](const std::string& variable, const std::string& who, bool in_use = true) {
    if (variable.empty())
      return;
    const auto [at, is_new] = named.try_emplace(variable, need{who, in_use});
    if (!is_new && in_use && !at->second.in_use)
      at->second = {who, in_use};
  };
  for (const auto& [id, each] : config.providers)
    name(each.api_key_env, "provider " + id, used.providers.count(id) > 0);
  for (const auto& [id, each] : config.tools) {
    const bool in_use = used.tools.count(id) > 0;
    for (const auto& variable : each.env_from)
      name(variable, "tool " + id, in_use);
    name(each.mcp.token_env, "tool " + id, in_use);
    if (each.mcp.oauth)
      name(each.mcp.oauth->client_secret_env, "tool " + id, in_use);
  }
  name(config.journal.url_env, "journal");
  name(config.queue.url_env, "queue");
  name(config.api.token_env, "api");
  name(config.metrics.otlp_url_env, "metrics");
  const auto notify = [&name](const std::vector<notify_spec>& list, const std::string& who) {
    for (const auto& each : list) {
      name(each.url_env, who);
      name(each.secret_env, who);
    }
  };
  notify(config.checkpoint.notify, "checkpoint");
  for (const auto& each : config.alerts)
    notify(each.notify, "alerts");
  findings out;
  std::size_t set = 0;
  for (const auto& [variable, need] : named) {
    const char* value = std::getenv(variable.c_str());
    if (value != nullptr && *value != '\0')
      ++set;
    else
      out.push_back({"environment", variable, need.in_use ? health::fail : health::warn,
                     "not set, and " + need.who + " needs it" + (need.in_use ? "" : ", which no agent uses"), "export " + variable + "=…"});
  }
  if (set > 0)
    out.push_back({"environment", std::to_string(set) + (set == 1 ? " variable" : " variables"), health::ok, "set", {}});
  return out;
}

} // namespace troupe::cli
