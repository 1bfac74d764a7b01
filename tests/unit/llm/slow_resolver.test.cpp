// A resolver that hangs must not hold up the client's thread. The program's own getaddrinfo stands in front of libc's.
#include "test.hpp"

#include <condition_variable>
#include <future>
#include <mutex>

#include <dlfcn.h>
#include <netdb.h>

#include "llm/test_server.hpp"
#include "troupe/llm/http_client.hpp"

TROUPE_SUITE(slow_resolver)

using namespace troupe;
using namespace troupe::llm;
using namespace std::chrono_literals;

namespace {

struct gate {
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false;
  int waiting = 0;
  int left = 0;
};

gate& resolver_gate() {
  static gate* one = new gate; // a detached resolver thread may outlive statics
  return *one;
}

} // namespace

extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** result) {
  using function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
  static const auto real = reinterpret_cast<function>(dlsym(RTLD_NEXT, "getaddrinfo"));
  if (node && std::string_view(node) == "hangs.invalid") {
    auto& g = resolver_gate();
    std::unique_lock lock(g.mutex);
    ++g.waiting;
    g.changed.notify_all();
    g.changed.wait(lock, [&] { return g.open; });
    ++g.left;
    g.changed.notify_all();
    return EAI_AGAIN;
  }
  return real(node, service, hints, result);
}

TROUPE_TEST("a timeout or a cancel during name resolution neither waits for the resolver nor holds up others") {
  test::test_server server([](const auto&) { return test::test_server::reply{test::test_server::ok("quick")}; });
  auto& g = resolver_gate();
  {
    http_client client;
    std::promise<http_result> timed_out, cancelled, quick;
    http_request stuck;
    stuck.url = "http://hangs.invalid/";
    stuck.timeout = 50ms;
    stuck.on_done = [&](http_result result) { timed_out.set_value(std::move(result)); };
    client.submit(std::move(stuck));
    http_request other;
    other.url = "http://hangs.invalid:81/";
    other.on_done = [&](http_result result) { cancelled.set_value(std::move(result)); };
    const auto id = client.submit(std::move(other));
    {
      std::unique_lock lock(g.mutex);
      g.changed.wait(lock, [&] { return g.waiting == 2; });
    }
    const auto first = timed_out.get_future().get(); // the resolver is still closed
    CHECK(first.error == http_error::timed_out);
    CHECK(!first.request_sent);
    client.cancel(id);
    CHECK(cancelled.get_future().get().error == http_error::cancelled);
    http_request fine;
    fine.url = server.url();
    fine.on_done = [&](http_result result) { quick.set_value(std::move(result)); };
    client.submit(std::move(fine));
    CHECK_EQ(quick.get_future().get().body, "quick");
  }
  std::unique_lock lock(g.mutex);
  CHECK_EQ(g.left, 0);
  g.open = true;
  g.changed.notify_all();
  g.changed.wait(lock, [&] { return g.left == g.waiting; });
}
