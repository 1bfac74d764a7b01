#include "troupe/tools/process.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <unordered_map>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

#include "troupe/policy/template.hpp"
#include "troupe/tools/fork_server.hpp"
#include "troupe/tools/io_loop.hpp"
#include "troupe/tools/process_call.hpp"
#include "troupe/tools/sandbox.hpp"

namespace troupe::tools {

namespace {

constexpr const char* search_path = "/usr/local/bin:/usr/bin:/bin";
constexpr std::size_t argument_bytes_limit = 131'071;               // MAX_ARG_STRLEN of the kernel, less its NUL
constexpr std::size_t arguments_bytes_limit = std::size_t{1} << 20; // well below ARG_MAX
constexpr std::int64_t scratch_bytes_max = 256LL << 20;

bool is_program(const std::string& path) {
  struct stat found {};
  return ::stat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

/// The file that a command's first word means, or empty.
std::string find_program(const std::string& name, const std::string& folder) {
  for (auto& path : program_places(name, folder))
    if (is_program(path))
      return std::move(path);
  return {};
}

/// "SIGKILL", or "a signal" for those without a name.
std::string signal_name(int number) {
  const char* name = ::sigabbrev_np(number);
  return name ? std::string("SIG") + name : "a signal without a name";
}

/// What all calls of one tool share. The runner may die before its calls have ended: they hold this.
struct process_tool {
  explicit process_tool(environment& shared) : loop(shared.loop) {}

  io_loop& loop;
  tool_spec spec;
  std::vector<text_template> command;
  text_template input;
  std::vector<std::string> variables; ///< "NAME=value" of PATH and so on, and of `env_from`
  std::string folder;
  std::vector<std::string> hidden;
  std::string bwrap; ///< empty: there is none
  std::chrono::milliseconds grace;
  process_counting counting;

  std::unordered_map<running_id, std::shared_ptr<process_call>> running; // loop thread only

  expected<process_job> render(const invocation& call) const;
  expected<process_job> job_of(std::vector<std::string> arguments, const std::string& idempotency_key = {}) const;
  expected<void> wrap(launch& plan) const;
  tool_outcome outcome_of(process_ending ending, std::chrono::milliseconds timeout) const;
};

/// The arguments that this call gives the program: one element a template, whatever is in it.
expected<std::vector<std::string>> render_command(const std::vector<text_template>& command, const json& scope) {
  std::vector<std::string> out;
  std::size_t total = 0;
  for (const auto& each : command) {
    auto argument = each.render_argument(scope);
    if (!argument)
      continue;
    const auto which = "argument " + std::to_string(out.size());
    if (argument->find('\0') != std::string::npos)
      return fail(error_code::invalid_argument, which + " has a NUL character, which no program can be given; leave it out");
    total += argument->size();
    if (argument->size() > argument_bytes_limit || total > arguments_bytes_limit)
      return fail(error_code::invalid_argument, which + " is too long: one may have " + std::to_string(argument_bytes_limit)
                                                    + " bytes, all of them " + std::to_string(arguments_bytes_limit) + "; send less");
    out.push_back(std::move(*argument));
  }
  return out;
}

expected<process_job> process_tool::render(const invocation& call) const {
  auto arguments = render_command(command, call.arguments);
  if (!arguments)
    return tl::unexpected(arguments.error());
  auto job = job_of(std::move(*arguments), call.idempotency_key);
  if (!job)
    return job;
  job->input = input.render(call.arguments);
  job->timeout = call.timeout;
  return job;
}

expected<process_job> process_tool::job_of(std::vector<std::string> arguments, const std::string& idempotency_key) const {
  if (arguments.empty() || arguments.front().empty())
    return fail(error_code::invalid_argument, "its command has no program: the first template gave nothing");
  process_job job;
  auto& plan = job.plan;
  plan.program = find_program(arguments.front(), folder);
  if (plan.program.empty())
    return fail(error_code::not_found, "there is no program \"" + arguments.front() + "\" in "
                                           + (arguments.front().find('/') == std::string::npos ? search_path : "\"" + folder + "\"")
                                           + "; install it or correct `command`");
  plan.arguments = std::move(arguments);
  plan.folder = folder;
  plan.environment = variables;
  if (!idempotency_key.empty() && idempotency_key.find('\0') == std::string::npos)
    plan.environment.push_back("TROUPE_IDEMPOTENCY_KEY=" + idempotency_key);
  plan.memory_bytes = spec.limits.memory_bytes;
  plan.cpu_seconds = spec.limits.cpu_seconds;
  job.limits = spec.limits;
  job.grace = grace;
  job.counting = counting;
  job.sandboxed = spec.sandbox.enabled;
  if (job.sandboxed)
    if (auto wrapped = wrap(plan); !wrapped)
      return tl::unexpected(wrapped.error());
  return job;
}

/// Puts bubblewrap in front.
expected<void> process_tool::wrap(launch& plan) const {
  if (bwrap.empty() || !is_program(bwrap))
    return fail(error_code::unavailable,
                "bubblewrap (the program \"bwrap\") is not installed, and without it there is no sandbox; install the package "
                "bubblewrap, or set `sandbox: off` for this tool where what it runs is trusted");
  const auto scratch = std::clamp<std::int64_t>(spec.limits.memory_bytes, 1 << 20, scratch_bytes_max);
  auto arguments = sandbox_arguments({bwrap, folder, spec.sandbox, hidden, scratch});
  if (!arguments)
    return tl::unexpected(arguments.error());
  for (auto& each : plan.arguments)
    arguments->push_back(std::move(each));
  plan.arguments = std::move(*arguments);
  plan.program = bwrap;
  plan.folder = "/";
  return {};
}

std::string exit_words(const process_ending& ending) {
  if (ending.signalled)
    return "was ended by signal " + std::to_string(ending.status - 128) + " (" + signal_name(ending.status - 128) + ")";
  auto words = "ended with exit status " + std::to_string(ending.status);
  if (ending.status > 128 && ending.status <= 128 + 64)
    words += ", as after signal " + std::to_string(ending.status - 128) + " (" + signal_name(ending.status - 128) + ")";
  return words;
}

tool_outcome process_tool::outcome_of(process_ending ending, std::chrono::milliseconds timeout) const {
  tool_outcome out;
  const auto name = "tool \"" + spec.name + "\" ";
  const auto took = ending.output.total_bytes();
  out.truncated = ending.output.cut();
  out.output = ending.output.take_text();
  if (out.truncated)
    out.output += "\n[cut: these are the first " + std::to_string(out.output.size()) + " of " + std::to_string(took) + " bytes]";
  switch (ending.why) {
  case process_ending::how::exited:
    out.exit_status = ending.status;
    if (!ending.signalled && std::find(spec.success.begin(), spec.success.end(), ending.status) != spec.success.end())
      return out;
    out.status = tool_status::failed;
    out.error = name + exit_words(ending);
    if (ending.status == 128 + SIGXCPU)
      out.error += ": it used more than " + std::to_string(spec.limits.cpu_seconds) + " s of CPU time";
    if (ending.fork_refused)
      out.error += "; it asked for more than its " + std::to_string(spec.limits.processes) + " processes and threads";
    break;
  case process_ending::how::not_started:
    out.status = tool_status::not_started;
    out.error = name + "did not start: " + ending.problem;
    while (out.error.back() == '\n')
      out.error.pop_back();
    if (spec.sandbox.enabled && ending.problem.find("execvp") != std::string::npos)
      out.error += "; in the sandbox are the system's programs and the configuration's folder only, `sandbox.read` adds others";
    return out;
  case process_ending::how::timed_out:
    out.status = tool_status::timed_out;
    out.error = name + "was stopped after its timeout of " + std::to_string(timeout.count()) + " ms, with everything it had started";
    break;
  case process_ending::how::cancelled:
    out.status = tool_status::cancelled;
    out.error = name + "was cancelled";
    break;
  case process_ending::how::too_many:
    out.status = tool_status::failed;
    out.exit_status = 128 + SIGKILL;
    out.error = name + "was killed: it had more than its " + std::to_string(spec.limits.processes) + " processes and threads";
    break;
  case process_ending::how::lost:
    out.status = tool_status::failed;
    out.exit_status = 128 + SIGKILL;
    out.error = name + "ended without an exit status: " + ending.problem;
    break;
  }
  const bool cut = ending.errors.cut();
  if (auto words = ending.errors.take_text(); !words.empty()) {
    while (!words.empty() && words.back() == '\n')
      words.pop_back();
    out.error += std::string("; its standard error") + (cut ? " ends with: " : ": ") + words;
  }
  return out;
}

class process_runner : public runner {
public:
  explicit process_runner(std::shared_ptr<process_tool> tool) : tool_(std::move(tool)) {}

  ~process_runner() override {
    tool_->loop.post([tool = tool_] {
      for (auto calls = tool->running; auto& [id, call] : calls)
        call->kill_now();
    });
  }

  running_id start(invocation call, on_outcome done) override {
    const auto id = next_.fetch_add(1, std::memory_order_relaxed);
    auto job = tool_->render(call);
    if (!job) {
      done({tool_status::not_started, {}, "tool \"" + tool_->spec.name + "\" did not start: " + job.error().message, 0, false});
      return id;
    }
    auto shared = std::make_shared<process_job>(std::move(*job)); // std::function copies
    tool_->loop.post([tool = tool_, id, shared, done = std::move(done)] {
      const auto timeout = shared->timeout;
      bool ended = false;
      auto running = process_call::start(tool->loop, std::move(*shared), [tool, id, timeout, done, &ended](process_ending ending) mutable {
        const auto at = tool->running.find(id);
        if (at == tool->running.end())
          ended = true; // within `start`: the only time that `ended` still is there
        else
          tool->running.erase(at);
        done(tool->outcome_of(std::move(ending), timeout));
      });
      if (!ended)
        tool->running.emplace(id, std::move(running));
    });
    return id;
  }

  void cancel(running_id id) override {
    tool_->loop.post([tool = tool_, id] {
      if (const auto at = tool->running.find(id); at != tool->running.end())
        std::shared_ptr(at->second)->cancel();
    });
  }

private:
  std::shared_ptr<process_tool> tool_;
  std::atomic<running_id> next_{1};
};

expected<std::vector<std::string>> variables_of(const tool_spec& spec, const environment& shared) {
  std::vector<std::string> out{std::string("PATH=") + search_path, "LANG=C.UTF-8", "HOME=/tmp", "TMPDIR=/tmp"};
  for (const auto& name : spec.env_from) {
    if (name.empty() || name.find_first_of(std::string_view("=\0", 2)) != std::string::npos)
      return fail(error_code::invalid_argument, "`env_from` has \"" + name + "\", which is no name of a variable");
    auto value = secret_named(name, shared);
    if (!value)
      return tl::unexpected(value.error());
    std::erase_if(out, [&](const std::string& each) { return each.compare(0, name.size() + 1, name + "=") == 0; });
    out.push_back(name + "=" + *value);
  }
  return out;
}

tl::unexpected<error> at_tool(const tool_spec& spec, error problem) {
  problem.where = "tool \"" + spec.name + "\"";
  return tl::unexpected(std::move(problem));
}

/// What a tool of this specification has before any call: no command yet.
expected<std::shared_ptr<process_tool>> make_process_tool(const tool_spec& spec, environment& shared) {
  auto tool = std::make_shared<process_tool>(shared);
  tool->spec = spec;
  if (spec.command.empty())
    return fail(error_code::invalid_argument, "a process tool needs `command`: the program and its arguments, as a list");
  auto variables = variables_of(spec, shared);
  if (!variables)
    return tl::unexpected(variables.error());
  tool->variables = std::move(*variables);
  for (const auto* paths : {&spec.sandbox.read, &spec.sandbox.write})
    for (const auto& path : *paths)
      if (path.empty() || path.front() != '/')
        return fail(error_code::invalid_argument, "the sandbox's path \"" + path + "\" is not absolute");
  if (shared.folder.empty() || shared.folder.front() != '/')
    return fail(error_code::invalid_argument, "the configuration's folder \"" + shared.folder + "\" is not absolute");
  tool->folder = shared.folder;
  tool->hidden = shared.hidden;
  tool->bwrap = shared.bwrap.empty() ? find_program("bwrap", "/") : shared.bwrap;
  tool->grace = shared.grace;
  tool->counting = shared.counting;
  shared.loop.forks().start(); // before the process grows
  return tool;
}

} // namespace

std::vector<std::string> program_places(const std::string& name, const std::string& folder) {
  if (name.empty())
    return {};
  if (name.find('/') != std::string::npos)
    return {name.front() == '/' ? name : folder + "/" + name};
  std::vector<std::string> out;
  std::string_view left = search_path;
  while (!left.empty()) {
    const auto colon = std::min(left.find(':'), left.size());
    out.push_back(std::string(left.substr(0, colon)) + "/" + name);
    left.remove_prefix(std::min(colon + 1, left.size()));
  }
  return out;
}

expected<std::unique_ptr<runner>> make_process_runner(const tool_spec& spec, environment& shared) {
  auto tool = make_process_tool(spec, shared);
  if (!tool)
    return at_tool(spec, tool.error());
  for (const auto& text : spec.command) {
    auto parsed = text_template::parse(text);
    if (!parsed)
      return at_tool(spec, parsed.error());
    (*tool)->command.push_back(std::move(*parsed));
  }
  auto input = text_template::parse(spec.stdin_template);
  if (!input)
    return at_tool(spec, input.error());
  (*tool)->input = std::move(*input);
  return std::make_unique<process_runner>(std::move(*tool));
}

expected<process_job> make_server_job(const tool_spec& spec, environment& shared) {
  auto tool = make_process_tool(spec, shared);
  if (!tool)
    return at_tool(spec, tool.error());
  auto job = (*tool)->job_of(spec.command);
  if (!job)
    return at_tool(spec, job.error());
  job->plan.memory_bytes = 0;
  job->plan.cpu_seconds = 0;
  job->timeout = std::chrono::hours(24 * 365);
  job->converses = true;
  return std::move(*job);
}

} // namespace troupe::tools
