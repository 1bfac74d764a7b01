#include "troupe/tools/process_call.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <nlohmann/json.hpp>

#include "troupe/tools/cgroup.hpp"
#include "troupe/tools/descendants.hpp"
#include "troupe/tools/fork_server.hpp"
#include "troupe/tools/io_loop.hpp"
#include "troupe/tools/sandbox.hpp"
#include "troupe/util/unique_fd.hpp"

namespace troupe::tools {

namespace asio = boost::asio;
using io_error = boost::system::error_code;
using how = process_ending::how;
using stream = asio::posix::stream_descriptor;

namespace {

constexpr std::size_t error_text_bytes = 64u << 10;
constexpr std::chrono::milliseconds killed_again_after{100};
constexpr std::size_t written_input_max = 64u << 10;

struct pipe_ends {
  unique_fd read, write;
};

std::optional<pipe_ends> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return std::nullopt;
  return pipe_ends{unique_fd(ends[0]), unique_fd(ends[1])};
}

unique_fd open_pidfd(pid_t pid) {
  return unique_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

bool send_signal(int pidfd, int signal) {
  return ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0;
}

/// False after `patience_ms`; -1 waits for ever.
bool has_ended(int pidfd, int patience_ms) {
  pollfd ready{pidfd, POLLIN, 0};
  return ::poll(&ready, 1, patience_ms) == 1;
}

/// For a process that may have come to us as an orphan (in a container this process may be everybody's init).
void reap_orphan(int pidfd) {
  siginfo_t ignored{};
  ::waitid(P_PIDFD, static_cast<id_t>(pidfd), &ignored, WEXITED | WNOHANG);
}

pid_t parent_of(pid_t pid) {
  char path[32], text[512];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const unique_fd fd(::open(path, O_RDONLY | O_CLOEXEC));
  const auto got = fd ? ::read(fd.get(), text, sizeof text - 1) : 0;
  if (got <= 0)
    return 0;
  text[got] = '\0';
  const char* name_end = std::strrchr(text, ')'); // the name may hold anything
  int parent = 0;
  if (!name_end || std::sscanf(name_end + 1, " %*c %d", &parent) != 1)
    return 0;
  return parent;
}

/// False where the kernel watches no more descriptors; the stream is closed then.
bool adopt(stream& into, unique_fd& fd) {
  io_error failed;
  into.assign(fd.get(), failed);
  if (failed)
    return false;
  fd.release();
  into.native_non_blocking(true, failed);
  return !failed;
}

/// Appends what a pipe holds, and closes it at its end.
void gather(stream& from, std::string& into) {
  if (!from.is_open())
    return;
  char buffer[1024];
  ssize_t got = 0;
  while ((got = ::read(from.native_handle(), buffer, sizeof buffer)) > 0)
    if (into.size() < (64u << 10)) // no tool can reach it; still, a bound
      into.append(buffer, static_cast<std::size_t>(got));
  if (got == 0)
    from.close();
}

} // namespace

struct process_call::impl {
  impl(io_loop& on, process_job what, on_end then)
      : loop(on), job(std::move(what)), done(std::move(then)), in(on.context()), out(on.context()), err(on.context()),
        reports(on.context()), status(on.context()), reaper(on.context()), init(on.context()), deadline(on.context()), grace(on.context()) {
    const auto kept = job.converses ? 0 : std::max<std::int64_t>(0, job.limits.output_bytes);
    ending.output = capture(capture::keep::start, static_cast<std::size_t>(kept));
    ending.errors = capture(capture::keep::end, error_text_bytes);
  }

  io_loop& loop;
  process_job job;
  on_end done;
  std::uint64_t entry = 0;
  std::shared_ptr<process_call> self; // while it runs: the handlers need not hold one each

  reaper_process reaper_born; // until it is adopted; its pid holds as long as `reaper` tells no end
  pid_t program_pid = -1;     // the reaper's child: bubblewrap, or the program itself
  pid_t init_told = -1;       // the namespace's init, as bubblewrap names it: not looked at yet
  pid_t root_pid = -1;        // whose descendants are the tool: the init of the PID namespace, or the reaper
  std::unique_ptr<cgroup> group;
  unique_fd lifeline; // of the reaper
  unique_fd gate;     // of bubblewrap

  stream in, out, err, reports, status, reaper, init;
  asio::steady_timer deadline, grace;
  std::size_t written = 0;
  bool writing = false;     // a wait for `in` is under way
  bool input_ends = true;   // `in` is closed when all is written
  std::string report_bytes; // of the reaper
  std::string status_text;  // of bubblewrap

  process_ending ending;
  std::optional<how> stopping; // why we end it
  bool program_ended = false;
  std::optional<int> wrapper_status; // bubblewrap has ended, so
  bool limits_in_sandbox = false;    // plain users' own user namespace counts for us; root is bound by none
  bool wrapper_held = false;         // bubblewrap is stopped: it would go with its program, and take all others with it
  bool reaper_ended = false;
  bool init_ended = false;
  bool finished = false;

  void begin();
  bool launch_it();
  void refuse(std::string problem);
  bool has_input() const { return job.converses || !job.input.empty(); }
  void write_input();
  void read_output(stream& from, capture& into);
  bool read_some(stream& from, capture& into);
  void follow(stream& from);
  void take_news();
  void take_reports();
  void take_status();
  void take_sandbox_line(const nlohmann::json& line);
  void take_report(const reaper_report& report);
  void sandbox_is_up(pid_t init_pid);
  void await_reaper();
  void reaper_has_ended();
  void await_init();
  void stop(how why, bool gently);
  void terminate();
  void kill_all();
  void finish();
  void drain(stream& from, capture& into);
  void conclude();
};

void process_call::impl::refuse(std::string problem) {
  ending.why = how::not_started;
  ending.problem = std::move(problem);
  finish();
}

void process_call::impl::begin() {
  entry = loop.enter([this] { stop(how::cancelled, false); });
  if (entry == 0) {
    stopping = how::cancelled;
    finish();
    return;
  }
  if (!launch_it())
    return;
  if (!adopt(reaper, reaper_born.pidfd) || !out.is_open() || !err.is_open() || !reports.is_open() || (job.sandboxed && !status.is_open())
      || (has_input() && !in.is_open())) {
    // No descriptor is left, or the kernel watches no more of them: what was just started must not run unwatched.
    const auto why = std::string(std::strerror(errno));
    lifeline.reset(); // the reaper kills what it watches, then goes
    const int watched = reaper.is_open() ? reaper.native_handle() : reaper_born.pidfd.get();
    for (int again = 0; !has_ended(watched, 100) && again < 50; ++again) { // the tool may have stopped its reaper
      kill_descendants(reaper_born.pid, -1);
      send_signal(watched, SIGCONT);
    }
    if (job.sandboxed) { // still at the gate
      refuse("it cannot be watched: " + why);
      return;
    }
    ending.why = how::lost;
    ending.problem = "it could not be watched: " + why;
    finish();
    return;
  }
  await_reaper();
  follow(reports);
  if (job.sandboxed)
    follow(status);
  read_output(out, ending.output);
  read_output(err, ending.errors);
  input_ends = !job.converses;
  if (!job.input.empty())
    write_input();
  deadline.expires_after(std::min(job.timeout, std::chrono::milliseconds(std::chrono::hours(24 * 365)))); // later would overflow
  deadline.async_wait([this, keep = self](io_error failed) {
    if (!failed)
      stop(how::timed_out, true);
  });
}

/// Pipes, control group and the process itself. False: `finish` has been called.
bool process_call::impl::launch_it() {
  auto output = make_pipe(), errors = make_pipe(), news = make_pipe(), life = make_pipe();
  std::optional<pipe_ends> input, told, control, passwd; // the last three are bubblewrap's
  unique_fd nothing;
  if (!has_input())
    nothing.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  else
    input = make_pipe();
  if (job.sandboxed) {
    told = make_pipe();
    control = make_pipe();
    passwd = make_pipe();
  }
  if (!output || !errors || !news || !life || (!input && !nothing) || (job.sandboxed && (!told || !control || !passwd))) {
    refuse(std::string("its pipes cannot be made: ") + std::strerror(errno));
    return false;
  }
  const int wrappers = job.sandboxed ? 2 : 0; // bubblewrap is two processes
  auto& plan = job.plan;
  plan.descriptors = {input ? input->read.get() : nothing.get(), output->write.get(), errors->write.get()};
  if (job.counting == process_counting::automatic)
    group = cgroup::create(job.limits.processes + wrappers, job.limits.memory_bytes);
  plan.cgroup_procs = group ? group->procs_fd() : -1;
  limits_in_sandbox = job.sandboxed && !group && job.counting == process_counting::automatic && ::geteuid() != 0;
  plan.tasks_max = group || limits_in_sandbox ? 0 : job.limits.processes + wrappers;
  if (job.sandboxed) {
    const auto line = sandbox_passwd();
    [[maybe_unused]] const auto fits = ::write(passwd->write.get(), line.data(), line.size());
    plan.descriptors.insert(plan.descriptors.end(), {told->write.get(), control->read.get(), passwd->read.get()});
    gate = std::move(control->write);
  }
  auto born = loop.forks().launch_below_reaper(plan, life->read.get(), news->write.get());
  if (!born) {
    life->write.reset();
    if (!born.error().may_have_run) {
      refuse(describe({launch_failure::step::fork, born.error().number}));
      return false;
    }
    ending.why = how::lost;
    ending.problem = "the process that starts tools was killed or stopped";
    finish();
    return false;
  }
  reaper_born = std::move(*born);
  lifeline = std::move(life->write);
  if (job.sandboxed)
    adopt(status, told->read);
  else
    root_pid = reaper_born.pid;
  adopt(out, output->read);
  adopt(err, errors->read);
  adopt(reports, news->read);
  if (input)
    adopt(in, input->write);
  return true;
}

void process_call::impl::write_input() {
  if (std::exchange(writing, true))
    return;
  in.async_wait(stream::wait_write, [this, keep = self](io_error failed) {
    writing = false;
    if (failed || finished)
      return;
    const auto rest = std::string_view(job.input).substr(written);
    const auto sent = ::write(in.native_handle(), rest.data(), rest.size());
    if (sent > 0)
      written += static_cast<std::size_t>(sent);
    const bool refused = sent < 0 && errno != EAGAIN && errno != EINTR; // it does not want the rest
    if (refused || written == job.input.size()) {
      job.input.clear();
      written = 0;
      if (refused || input_ends)
        in.close();
      return;
    }
    write_input();
  });
}

/// One piece; false at the end.
bool process_call::impl::read_some(stream& from, capture& into) {
  static thread_local std::array<char, 64u << 10> buffer;
  const auto got = ::read(from.native_handle(), buffer.data(), buffer.size());
  if (got > 0) {
    const std::string_view piece(buffer.data(), static_cast<std::size_t>(got));
    into.take(piece);
    if (job.converses && &from == &out && job.on_output)
      job.on_output(piece);
  }
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

void process_call::impl::read_output(stream& from, capture& into) {
  from.async_wait(stream::wait_read, [this, keep = self, &from, &into](io_error failed) {
    if (failed || finished)
      return;
    if (read_some(from, into)) {
      read_output(from, into);
      return;
    }
    from.close(); // it may live on without its output
    if (job.converses && &from == &out && job.on_output_end)
      job.on_output_end();
  });
}

/// Reads what the reaper and bubblewrap tell whenever `from`, one of the two, has news.
void process_call::impl::follow(stream& from) {
  from.async_wait(stream::wait_read, [this, keep = self, &from](io_error failed) {
    if (failed || finished)
      return;
    take_news();
    if (from.is_open() && !finished)
      follow(from);
  });
}

/// bubblewrap may tell its init's pid before the reaper gets to telling bubblewrap's: both are needed.
void process_call::impl::take_news() {
  take_reports();
  take_status();
  if (init_told > 0 && program_pid > 0)
    sandbox_is_up(std::exchange(init_told, -1));
}

void process_call::impl::take_reports() {
  gather(reports, report_bytes);
  reaper_report report;
  std::size_t at = 0;
  for (; report_bytes.size() - at >= sizeof report; at += sizeof report) {
    std::memcpy(&report, report_bytes.data() + at, sizeof report);
    take_report(report);
  }
  report_bytes.erase(0, at);
}

void process_call::impl::take_status() {
  gather(status, status_text);
  for (std::size_t end = 0; (end = status_text.find('\n')) != std::string::npos;) {
    const auto line = nlohmann::json::parse(status_text.substr(0, end), nullptr, false);
    status_text.erase(0, end + 1);
    if (line.is_object())
      take_sandbox_line(line);
  }
}

void process_call::impl::take_sandbox_line(const nlohmann::json& line) {
  if (const auto pid = line.find("child-pid"); pid != line.end() && pid->is_number_integer() && root_pid < 0)
    init_told = pid->get<pid_t>();
  if (const auto code = line.find("exit-code"); code != line.end() && code->is_number_integer()) {
    program_ended = true;
    ending.status = code->get<int>();
  }
}

void process_call::impl::take_report(const reaper_report& report) {
  switch (report.what) {
  case reaper_report::kind::failed:
    ending.why = how::not_started;
    ending.problem = describe(report.failure);
    break;
  case reaper_report::kind::started:
    program_pid = report.value;
    break;
  case reaper_report::kind::too_many:
    if (!stopping)
      stopping = how::too_many;
    break;
  case reaper_report::kind::ended:
    if (job.sandboxed) {
      wrapper_status = report.value;
      break;
    }
    program_ended = true;
    ending.signalled = WIFSIGNALED(report.value);
    ending.status = ending.signalled ? 128 + WTERMSIG(report.value) : WEXITSTATUS(report.value);
    break;
  }
}

/// The namespaces stand, and bubblewrap waits at the gate: now is the time for limits that hold inside only.
void process_call::impl::sandbox_is_up(pid_t init_pid) {
  auto pidfd = open_pidfd(init_pid);
  if (!pidfd || parent_of(init_pid) != program_pid)
    return; // it ended already, and the pid may be anybody's
  root_pid = init_pid;
  if (!adopt(init, pidfd)) {
    kill_all(); // still at the gate
    return;
  }
  await_init();
  if (limits_in_sandbox) {
    // Counted in the sandbox's own user namespace: the init is one of them.
    const auto tasks = static_cast<rlim_t>(job.limits.processes + 1);
    const rlimit wanted{tasks, tasks};
    if (::prlimit(init_pid, RLIMIT_NPROC, &wanted, nullptr) != 0) {
      ending.why = how::not_started;
      ending.problem = std::string("its number of processes cannot be limited: ") + std::strerror(errno);
      kill_all(); // still at the gate
      return;
    }
  }
  [[maybe_unused]] const auto opened = ::write(gate.get(), "x", 1);
  gate.reset();
}

void process_call::impl::stop(how why, bool gently) {
  if (finished)
    return;
  if (program_ended && !stopping) { // it ends anyway; whoever was told so has waited long enough for the rest of it
    kill_all();
    return;
  }
  if (!stopping)
    stopping = why;
  else if (gently)
    return; // it is being stopped already
  if (gently)
    terminate();
  else
    kill_all();
}

void process_call::impl::terminate() {
  std::size_t told = 0;
  if (!job.sandboxed && lifeline) {
    send_signal(reaper.native_handle(), SIGCONT); // the tool may have stopped its reaper
    told = ::write(lifeline.get(), "T", 1) == 1 ? 1 : 0;
  } else if (job.sandboxed && root_pid > 0 && !wrapper_status && !init_ended) {
    wrapper_held = ::kill(program_pid, SIGSTOP) == 0;
    told = signal_descendants(root_pid, SIGTERM);
  }
  if (told == 0) {
    kill_all();
    return;
  }
  grace.expires_after(job.grace);
  grace.async_wait([this, keep = self](io_error failed) {
    if (!failed)
      kill_all();
  });
}

void process_call::impl::kill_all() {
  if (finished)
    return;
  if (init.is_open() && !init_ended) // the whole PID namespace goes with its init, faster than anybody in it can fork
    send_signal(init.native_handle(), SIGKILL);
  lifeline.reset();
  if (!job.sandboxed && !reaper_ended) { // the tool may have stopped its reaper
    kill_descendants(reaper_born.pid, program_pid);
    send_signal(reaper.native_handle(), SIGCONT);
    grace.expires_after(killed_again_after); // … and somebody whom we did not see may do so again
    grace.async_wait([this, keep = self](io_error failed) {
      if (!failed)
        kill_all();
    });
  }
}

void process_call::impl::await_reaper() {
  reaper.async_wait(stream::wait_read, [this, keep = self](io_error failed) {
    if (!failed)
      reaper_has_ended();
  });
}

/// Nobody is left then, unless somebody killed the reaper.
void process_call::impl::reaper_has_ended() {
  if (!has_ended(reaper.native_handle(), 0)) {
    await_reaper();
    return;
  }
  reaper_ended = true;
  take_news();
  if (job.sandboxed) {
    if (init.is_open() && !init_ended && send_signal(init.native_handle(), SIGKILL))
      return; // the whole PID namespace goes with its init, and we with that
  } else if (!program_ended && program_pid > 0) {
    ::kill(-program_pid, SIGKILL);
    if (group)
      group->kill_members();
  }
  finish();
}

/// The init of the PID namespace ends when nobody else is left in it, or everybody ends when it does.
void process_call::impl::await_init() {
  init.async_wait(stream::wait_read, [this, keep = self](io_error failed) {
    if (failed || finished)
      return;
    init_ended = true;
    if (reaper_ended)
      finish();
    else if (wrapper_held)
      ::kill(program_pid, SIGKILL);
  });
}

void process_call::impl::drain(stream& from, capture& into) {
  // Every writer is dead, so this is at most what the pipe holds; unless somebody escaped with a descriptor, hence the bound.
  for (int pieces = 0; from.is_open() && pieces < 256; ++pieces) {
    const auto before = into.total_bytes();
    if (!read_some(from, into) || into.total_bytes() == before)
      break;
  }
}

/// How it ended, once nobody is left.
void process_call::impl::conclude() {
  if (ending.why == how::not_started || ending.why == how::lost)
    return;
  if (stopping) {
    ending.why = *stopping;
  } else if (program_ended) {
    ending.why = how::exited;
  } else if (wrapper_status && WIFEXITED(*wrapper_status)) {
    ending.why = how::not_started; // bubblewrap says why on standard error
    ending.problem = ending.errors.take_text();
  } else {
    ending.why = how::lost;
    ending.problem = job.sandboxed ? "its sandbox was killed" : "the process that watched it was killed";
  }
}

void process_call::impl::finish() {
  if (finished)
    return;
  finished = true;
  drain(out, ending.output);
  drain(err, ending.errors);
  conclude();
  ending.fork_refused = group && group->was_full();
  group.reset();
  for (auto* each : {&reaper, &init})
    if (each->is_open())
      reap_orphan(each->native_handle());
  for (auto* timer : {&deadline, &grace})
    timer->cancel();
  io_error unimportant;
  for (auto* each : {&in, &out, &err, &reports, &status, &reaper, &init})
    each->close(unimportant);
  lifeline.reset();
  gate.reset();
  if (entry != 0)
    loop.leave(entry);
  const auto keep = std::move(self); // this object ends with the last handler that holds it
  const auto answer = std::move(done);
  answer(std::move(ending));
}

process_call::process_call() = default;
process_call::~process_call() = default;

std::shared_ptr<process_call> process_call::start(io_loop& loop, process_job job, on_end done) {
  std::shared_ptr<process_call> call(new process_call);
  call->impl_ = std::make_unique<impl>(loop, std::move(job), std::move(done));
  call->impl_->self = call;
  call->impl_->begin();
  return call;
}

bool process_call::write(std::string_view bytes) {
  auto& call = *impl_;
  if (call.finished || !call.in.is_open())
    return true; // its end is told by `done`
  if (call.job.input.size() - call.written + bytes.size() > waiting_input_max)
    return false;
  if (call.written > 0 && (call.written == call.job.input.size() || call.written >= written_input_max)) {
    call.job.input.erase(0, call.written); // a reader that is always a little behind does not keep what it has read
    call.written = 0;
  }
  call.job.input.append(bytes);
  call.write_input();
  return true;
}

void process_call::close_input() {
  auto& call = *impl_;
  call.input_ends = true;
  if (!call.finished && call.in.is_open() && call.job.input.empty())
    call.in.close();
}

void process_call::cancel() {
  impl_->stop(how::cancelled, true);
}
void process_call::kill_now() {
  impl_->stop(how::cancelled, false);
}

} // namespace troupe::tools
