#pragma once
// A folder, a loop and an environment for tools, and calls that are waited for. Real processes, real files.

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <unistd.h>

#include "troupe/model/config.hpp"
#include "troupe/tools/environment.hpp"
#include "troupe/tools/io_loop.hpp"
#include "troupe/tools/process.hpp"
#include "troupe/tools/runner.hpp"
#include "troupe/tools/worker_pool.hpp"

namespace troupe::tools::test {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

struct temporary_folder {
  temporary_folder() {
    char name[] = "/tmp/troupe-test-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~temporary_folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  std::string write(const std::string& name, std::string_view text) const {
    const auto file = path + "/" + name;
    fs::create_directories(fs::path(file).parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }
  std::string read(const std::string& name) const {
    std::ifstream in(path + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  bool has(const std::string& name) const { return fs::exists(path + "/" + name); }
  std::string path;
};

/// The outcome of a call on any runner; its `done` may come on any thread.
struct pending_call {
  running_id id = 0;
  std::future<tool_outcome> future;
  tool_outcome get() {
    if (future.wait_for(60s) != std::future_status::ready) {
      std::fprintf(stderr, "a tool call was not answered within 60 s\n");
      std::abort();
    }
    return future.get();
  }
};

inline pending_call start(runner& on, json arguments = json::object(), std::chrono::milliseconds timeout = 30s, std::string key = "key-1") {
  auto promise = std::make_shared<std::promise<tool_outcome>>();
  pending_call call;
  call.future = promise->get_future();
  call.id = on.start({"call-1", "tool", std::move(arguments), std::move(key), timeout},
                     [promise](tool_outcome outcome) { promise->set_value(std::move(outcome)); });
  return call;
}

/// How many processes have `text` in their command line, this one aside.
inline std::size_t processes_with(const std::string& text) {
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos || name == std::to_string(::getpid()))
      continue;
    std::ifstream in(entry.path() / "cmdline", std::ios::binary);
    const std::string line{std::istreambuf_iterator<char>(in), {}};
    count += line.find(text) != std::string::npos ? 1 : 0;
  }
  return count;
}

/// Children of a process, zombies included.
inline std::vector<std::string> children_of(const std::string& pid) {
  std::vector<std::string> pids;
  std::error_code gone;
  for (fs::directory_iterator it("/proc/" + pid + "/task", gone), end; !gone && it != end; it.increment(gone)) {
    std::ifstream in(it->path() / "children");
    for (std::string child; in >> child;)
      pids.push_back(child);
  }
  return pids;
}

/// Whether this process has no child, zombies included, but one that forks for it, and that one soon has none (it hears of a death when we
/// do).
inline bool nobody_left() {
  const auto own = children_of("self");
  if (own.size() != 1)
    return own.empty();
  const auto latest = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!children_of(own.front()).empty())
    if (std::chrono::steady_clock::now() > latest)
      return false;
  return true;
}

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

struct tool_fixture {
  temporary_folder folder;
  io_loop loop;
  worker_pool workers{2};
  environment shared{loop, workers, nullptr, folder.path, {}, {}, {}, 200ms, process_counting::automatic};

  tool_spec process_spec(std::vector<std::string> command, bool sandbox = true) const {
    tool_spec spec;
    spec.name = "evil";
    spec.kind = tool_kind::process;
    spec.command = std::move(command);
    spec.sandbox.enabled = sandbox;
    return spec;
  }
  tool_spec shell(std::string script, bool sandbox = true) const { return process_spec({"sh", "-c", std::move(script)}, sandbox); }
  tool_spec python(std::string script, bool sandbox = true) const { return process_spec({"python3", "-c", std::move(script)}, sandbox); }

  std::unique_ptr<runner> make(const tool_spec& spec) {
    auto made = make_process_runner(spec, shared);
    if (!made) {
      std::fprintf(stderr, "%s\n", made.error().text().c_str());
      std::abort();
    }
    return std::move(*made);
  }
  tool_outcome run(const tool_spec& spec, json arguments = json::object(), std::chrono::milliseconds timeout = 30s) {
    const auto runner = make(spec);
    return start(*runner, std::move(arguments), timeout).get();
  }
};

} // namespace troupe::tools::test
