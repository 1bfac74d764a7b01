#include "troupe/llm/multi_loop.hpp"

#include <algorithm>
#include <cerrno>
#include <new>
#include <system_error>

#include <sys/eventfd.h>
#include <unistd.h>

namespace troupe::llm {

using clock = std::chrono::steady_clock;

namespace {

constexpr std::chrono::milliseconds longest_sleep{60'000};

[[noreturn]] void throw_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

} // namespace

multi_loop::multi_loop()
    : multi_(curl_multi_init()), epoll_(::epoll_create1(EPOLL_CLOEXEC)), wakeup_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!multi_)
    throw std::bad_alloc();
  epoll_event event{.events = EPOLLIN, .data = {.fd = wakeup_.get()}};
  if (!epoll_ || !wakeup_ || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wakeup_.get(), &event) != 0) {
    const int why = errno;
    curl_multi_cleanup(multi_);
    errno = why;
    throw_errno("the HTTP client's epoll");
  }
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &multi_loop::on_socket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &multi_loop::on_timer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
}

multi_loop::~multi_loop() {
  curl_multi_cleanup(multi_);
}

void multi_loop::wait(bool may_sleep) {
  int timeout = 0;
  if (may_sleep) {
    auto sleep = longest_sleep;
    if (due_)
      sleep = std::clamp(std::chrono::ceil<std::chrono::milliseconds>(*due_ - clock::now()), std::chrono::milliseconds(0), longest_sleep);
    timeout = static_cast<int>(sleep.count());
  }
  found_count_ = std::max(0, ::epoll_wait(epoll_.get(), found_.data(), static_cast<int>(found_.size()), timeout)); // -1: EINTR
}

void multi_loop::work() {
  for (int i = 0; i < found_count_; ++i)
    act(found_[static_cast<std::size_t>(i)]);
  found_count_ = 0;
  if (due_ && *due_ <= clock::now()) {
    due_.reset();
    int running = 0;
    curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
  }
}

void multi_loop::act(const epoll_event& event) {
  const int fd = event.data.fd;
  if (fd == wakeup_.get()) {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(fd, &count, sizeof count);
    return;
  }
  const auto wanted = entry(fd).wanted;
  if (wanted == 0) { // an idle connection that the server closes: libcurl sees that when it is to be used again
    watch(fd, 0);
    return;
  }
  const auto happened =
      (event.events & (EPOLLERR | EPOLLHUP)) != 0 ? wanted : event.events & wanted; // its own read or write tells the error
  int bits = 0;
  bits |= (happened & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0;
  bits |= (happened & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0;
  int running = 0;
  if (bits != 0)
    curl_multi_socket_action(multi_, fd, bits, &running);
}

void multi_loop::wake() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wakeup_.get(), &one, sizeof one);
}

multi_loop::watched& multi_loop::entry(curl_socket_t socket) {
  const auto index = static_cast<std::size_t>(socket);
  if (index >= sockets_.size())
    sockets_.resize(std::max(index + 1, 2 * sockets_.size()));
  return sockets_[index];
}

void multi_loop::opened(curl_socket_t socket) {
  entry(socket) = watched{.ours = true};
}

int multi_loop::close(curl_socket_t socket) noexcept {
  sockets_[static_cast<std::size_t>(socket)] = {}; // the kernel forgets it with its last descriptor
  return ::close(socket);
}

void multi_loop::watch(curl_socket_t socket, std::uint32_t events) {
  auto& each = entry(socket);
  if (each.ours && each.registered == events) // of the others (a resolver's), nobody tells when they are closed
    return;
  epoll_event event{.events = events, .data = {.fd = socket}};
  if (events == 0)
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket, nullptr);
  else if (::epoll_ctl(epoll_.get(), each.registered == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket, &event) != 0)
    ::epoll_ctl(epoll_.get(), errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket, &event);
  each.registered = events;
}

int multi_loop::on_socket(CURL*, curl_socket_t socket, int what, void* self, void*) noexcept {
  auto& loop = *static_cast<multi_loop*>(self);
  auto& each = loop.entry(socket);
  each.wanted = 0;
  if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
    each.wanted |= EPOLLIN;
  if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
    each.wanted |= EPOLLOUT;
  if (each.wanted != 0 || !each.ours)
    loop.watch(socket, each.wanted);
  return 0;
}

int multi_loop::on_timer(CURLM*, long timeout_ms, void* self) noexcept {
  auto& due = static_cast<multi_loop*>(self)->due_;
  if (timeout_ms < 0)
    due.reset();
  else
    due = clock::now() + std::chrono::milliseconds(timeout_ms);
  return 0;
}

} // namespace troupe::llm
