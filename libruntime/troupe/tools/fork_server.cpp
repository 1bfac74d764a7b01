#include "troupe/tools/fork_server.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>

#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

namespace troupe::tools {

namespace {

constexpr std::size_t sent_descriptors_max = launch_descriptors_max + 3; // lifeline, report, control group
constexpr timeval patience{5, 0};                                        // with a server that somebody keeps from its work

/// An order, as it goes through the socket in front of its texts: program, folder, arguments, environment, each ended by NUL. Its
/// descriptors go with it: those of the program, lifeline, report and, where it joins one, the control group's.
struct order {
  std::uint64_t text_bytes = 0;
  std::uint32_t arguments = 0;
  std::uint32_t variables = 0;
  std::uint32_t descriptors = 0; ///< of the program
  std::uint32_t joins = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t cpu_seconds = 0;
  std::int64_t tasks_max = 0;
};

/// Its answer, with the reaper's pidfd where there is one.
struct answer {
  std::int32_t pid = -1;
  std::int32_t number = 0; ///< errno
};

/// Room for descriptors beside a message.
struct descriptor_message {
  explicit descriptor_message(void* data, std::size_t bytes) : piece{data, bytes} {
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = room;
    header.msg_controllen = sizeof room;
  }

  void attach(const int* fds, std::size_t count) {
    header.msg_controllen = CMSG_SPACE(count * sizeof(int));
    auto* const part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(part), fds, count * sizeof(int));
  }

  std::size_t take(int* fds, std::size_t most) {
    const auto* const part = CMSG_FIRSTHDR(&header);
    if (!part || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
      return 0;
    const auto count = std::min(most, (part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(fds, CMSG_DATA(part), count * sizeof(int));
    return count;
  }

  iovec piece;
  alignas(cmsghdr) char room[CMSG_SPACE(sent_descriptors_max * sizeof(int))] = {};
  msghdr header{};
};

bool send_all(int socket, const char* data, std::size_t bytes) {
  while (bytes > 0) {
    const auto sent = ::send(socket, data, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent <= 0)
      return false;
    data += sent;
    bytes -= static_cast<std::size_t>(sent);
  }
  return true;
}

bool receive_all(int socket, char* data, std::size_t bytes) {
  while (bytes > 0) {
    const auto got = ::recv(socket, data, bytes, 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return false;
    data += got;
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

/// Steps over one text; null where there is none.
const char* next_text(const char*& at, const char* end) {
  const auto* const text = at;
  const auto* const nul = at < end ? static_cast<const char*>(std::memchr(at, '\0', static_cast<std::size_t>(end - at))) : nullptr;
  if (nul)
    at = nul + 1;
  return nul ? text : nullptr;
}

// ---- in the server. Between fork and exec or exit nothing is called but the kernel: at the fork, other threads may have held any lock.

/// Memory for an order's texts and the pointers to them.
class order_memory {
public:
  explicit order_memory(const order& what)
      : pointers_((std::size_t{what.arguments} + what.variables + 2) * sizeof(char*)), bytes_(pointers_ + what.text_bytes) {
    memory_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }
  ~order_memory() {
    if (there())
      ::munmap(memory_, bytes_);
  }
  order_memory(const order_memory&) = delete;
  order_memory& operator=(const order_memory&) = delete;

  bool there() const { return memory_ != MAP_FAILED; }
  char** pointers() const { return static_cast<char**>(memory_); }
  char* text() const { return static_cast<char*>(memory_) + pointers_; }

private:
  std::size_t pointers_, bytes_;
  void* memory_ = nullptr;
};

bool read_texts(const order& what, const order_memory& memory, launch_view& plan) {
  const char* at = memory.text();
  const char* const end = at + what.text_bytes;
  plan.program = next_text(at, end);
  plan.folder = next_text(at, end);
  auto** pointer = memory.pointers();
  const auto take_list = [&](std::uint32_t count) {
    char* const* const list = pointer;
    for (; count > 0; --count)
      *pointer++ = const_cast<char*>(next_text(at, end)); // execve wants them so
    *pointer++ = nullptr;
    return list;
  };
  plan.arguments = take_list(what.arguments);
  plan.environment = take_list(what.variables);
  return plan.program && plan.folder && at == end;
}

/// Forks the reaper of one order. Returns false when the other side is gone or out of step.
bool serve_one(int socket) {
  order what;
  int fds[sent_descriptors_max];
  descriptor_message message(&what, sizeof what);
  const auto got = ::recvmsg(socket, &message.header, MSG_CMSG_CLOEXEC | MSG_WAITALL);
  if (got < 0 && errno == EINTR)
    return true;
  const auto count = got > 0 ? message.take(fds, sent_descriptors_max) : 0;
  const order_memory memory(what);
  if (got != static_cast<ssize_t>(sizeof what) || count != what.descriptors + 2 + what.joins || !memory.there()
      || !receive_all(socket, memory.text(), what.text_bytes))
    return false;
  launch_view plan;
  if (!read_texts(what, memory, plan))
    return false;
  plan.memory_bytes = what.memory_bytes;
  plan.cpu_seconds = what.cpu_seconds;
  plan.tasks_max = what.tasks_max;
  plan.descriptors = fds;
  plan.descriptor_count = what.descriptors;
  plan.cgroup_procs = what.joins ? fds[what.descriptors + 2] : -1;
  const pid_t pid = ::fork();
  if (pid == 0)
    reap(plan, fds[what.descriptors], fds[what.descriptors + 1]);
  answer told{pid, pid < 0 ? errno : 0};
  // Nobody but us reaps it, and we not before we have this.
  int pidfd = pid > 0 ? static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)) : -1;
  if (pid > 0 && pidfd < 0)
    told.number = errno; // it goes with its lifeline; what it was to start may run already
  for (std::size_t i = 0; i < count; ++i)
    ::close(fds[i]);
  descriptor_message reply(&told, sizeof told);
  if (pidfd >= 0)
    reply.attach(&pidfd, 1);
  else
    reply.header.msg_controllen = 0;
  const bool sent = ::sendmsg(socket, &reply.header, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof told);
  if (pidfd >= 0)
    ::close(pidfd);
  return sent;
}

/// The server's life, in the forked child, with every signal blocked.
[[noreturn]] void serve(int socket) {
  ::prctl(PR_SET_NAME, "troupe-forks");
  ::setsid(); // no terminal's and no group's signal reaches it
  // Whoever started us may have ignored it, which exec keeps: then the kernel reaps, and nobody hears of an end.
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &standard, nullptr);
  // Descriptors of ours go before anything else happens: among them may be a lock that must die with the parent.
  if (!take_descriptors(&socket, 1))
    ::_exit(1);
  socket = 0;
  sigset_t child_signal;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  const int deaths = ::signalfd(-1, &child_signal, SFD_NONBLOCK | SFD_CLOEXEC);
  for (;;) {
    pollfd ready[2] = {{socket, POLLIN, 0}, {deaths, POLLIN, 0}};
    ::poll(ready, 2, -1);
    signalfd_siginfo ignored;
    while (::read(deaths, &ignored, sizeof ignored) > 0) {
    }
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    if (ready[0].revents != 0 && !serve_one(socket))
      ::_exit(0);
  }
}

// ---- here

void append_text(std::string& to, const std::string& text) {
  to.append(text.c_str()); // up to a NUL: whatever stands behind it would be read as the next text
  to.push_back('\0');
}

} // namespace

fork_server::~fork_server() {
  end();
}

void fork_server::start() {
  const std::lock_guard lock(mutex_);
  run();
}

/// Forks it, unless it is there. False: errno says why.
bool fork_server::run() {
  if (socket_) {
    ::kill(pid_, SIGCONT); // a tool without a sandbox may have stopped it
    return true;
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return false;
  unique_fd ours(ends[0]), its(ends[1]);
  for (const int option : {SO_SNDTIMEO, SO_RCVTIMEO})
    ::setsockopt(ours.get(), SOL_SOCKET, option, &patience, sizeof patience);
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::fork();
  if (pid == 0)
    serve(its.get());
  const int number = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = number;
  if (pid < 0)
    return false;
  socket_ = std::move(ours);
  pid_ = pid;
  return true;
}

void fork_server::end() {
  socket_.reset();
  if (pid_ <= 0)
    return;
  ::kill(pid_, SIGKILL); // it has nothing to lose, and may have been stopped
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

tl::expected<reaper_process, launch_refusal> fork_server::launch_below_reaper(const launch& plan, int lifeline, int report) {
  int fds[sent_descriptors_max];
  if (plan.descriptors.size() > launch_descriptors_max)
    return tl::unexpected(launch_refusal{false, EMFILE});
  auto count = static_cast<std::size_t>(std::copy(plan.descriptors.begin(), plan.descriptors.end(), fds) - fds);
  fds[count++] = lifeline;
  fds[count++] = report;
  if (plan.cgroup_procs >= 0)
    fds[count++] = plan.cgroup_procs;
  std::string texts;
  append_text(texts, plan.program);
  append_text(texts, plan.folder);
  for (const auto* list : {&plan.arguments, &plan.environment})
    for (const auto& each : *list)
      append_text(texts, each);
  order what;
  what.text_bytes = texts.size();
  what.arguments = static_cast<std::uint32_t>(plan.arguments.size());
  what.variables = static_cast<std::uint32_t>(plan.environment.size());
  what.descriptors = static_cast<std::uint32_t>(plan.descriptors.size());
  what.joins = plan.cgroup_procs >= 0 ? 1 : 0;
  what.memory_bytes = plan.memory_bytes;
  what.cpu_seconds = plan.cpu_seconds;
  what.tasks_max = plan.tasks_max;

  const std::lock_guard lock(mutex_);
  int number = 0;
  const auto order_it = [&] { // false: nothing has run, since its texts are not complete
    if (!run()) {
      number = errno;
      return false;
    }
    descriptor_message message(&what, sizeof what);
    message.attach(fds, count);
    if (::sendmsg(socket_.get(), &message.header, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof what)
        && send_all(socket_.get(), texts.data(), texts.size()))
      return true;
    number = errno;
    end();
    return false;
  };
  if (!order_it() && !order_it()) // the second time with a new server
    return tl::unexpected(launch_refusal{false, number});
  answer told;
  descriptor_message reply(&told, sizeof told);
  ssize_t got = 0;
  do
    got = ::recvmsg(socket_.get(), &reply.header, MSG_CMSG_CLOEXEC | MSG_WAITALL);
  while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(sizeof told)) {
    number = got < 0 ? errno : EPIPE;
    end();
    return tl::unexpected(launch_refusal{true, number});
  }
  int pidfd = -1;
  reply.take(&pidfd, 1);
  if (told.pid < 0 || pidfd < 0)
    return tl::unexpected(launch_refusal{told.pid > 0, told.number != 0 ? told.number : EMFILE});
  return reaper_process{told.pid, unique_fd(pidfd)};
}

} // namespace troupe::tools
