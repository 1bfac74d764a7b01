#include "troupe/policy/time_used.hpp"

#include "test.hpp"

TROUPE_SUITE(time_used)

using namespace troupe;
using namespace troupe::policy;
using std::chrono::milliseconds;

namespace {

struct journal_of {
  std::vector<event_ptr> events;
  journal_of& at(std::int64_t ms, event_body body, std::string task = {}, std::string agent = {}) {
    const auto seq = static_cast<std::int64_t>(events.size()) + 1;
    events.push_back(std::make_shared<const event>(event{seq, ms * 1000, "r", std::move(task), std::move(agent), std::move(body)}));
    return *this;
  }
  std::int64_t used(const std::string& scope) const {
    const auto all = time_used(events);
    const auto found = all.find(scope);
    return found == all.end() ? -1 : found->second.count();
  }
};

TROUPE_TEST("a task's time runs from its start to its end, and that of one that goes on to the last event") {
  journal_of j;
  j.at(0, run_started{})
      .at(10, task_started{}, "t")
      .at(30, task_finished{}, "t", "a")
      .at(40, task_started{}, "u")
      .at(95, message_injected{}, "u", "b");
  CHECK_EQ(j.used("task t"), 20);
  CHECK_EQ(j.used("task u"), 55);
  CHECK_EQ(j.used("agent a"), 65);
  CHECK_EQ(j.used("agent b"), 0);
  CHECK_EQ(j.used("task v"), -1);
}

TROUPE_TEST("it is summed over the attempts and the owners, and the time between two owners is nobody's") {
  journal_of j;
  j.at(0, run_started{})
      .at(0, task_started{}, "t")
      .at(100, task_finished{}, "t")
      .at(150, task_started{}, "t")
      .at(200, message_injected{}, "t");
  j.at(9'000, run_resumed{}).at(9'100, message_injected{}, "t").at(9'130, message_injected{}, "t");
  CHECK_EQ(j.used("task t"), 100 + 50 + 30);
}

TROUPE_TEST("waiting for humans does not count, however many are asked, nor where the owner ends meanwhile") {
  journal_of j;
  const auto asked = [](const char* id) {
    approval_requested request;
    request.id = id;
    return request;
  };
  const auto decided = [](const char* id) {
    approval_decided decision;
    decision.id = id;
    return decision;
  };
  j.at(0, run_started{}).at(0, task_started{}, "t").at(10, asked("x"), "t").at(20, asked("y"), "t").at(500, decided("x"), "t");
  CHECK_EQ(j.used("task t"), 10);
  j.at(600, decided("y"), "t").at(607, message_injected{}, "t");
  CHECK_EQ(j.used("task t"), 17);
  j.at(610, asked("z"), "t").at(5'000, message_injected{}, "u").at(9'000, run_resumed{}).at(9'001, message_injected{}, "t");
  CHECK_EQ(j.used("task t"), 20);
}

TROUPE_TEST("what is withdrawn waits for nobody any more") {
  journal_of j;
  approval_requested request;
  request.id = "x";
  j.at(0, run_started{}).at(0, task_started{}, "t").at(10, request, "t(a)").at(500, approval_withdrawn{"x", 0}, "t(a)");
  j.at(530, message_injected{}, "t(b)");
  CHECK_EQ(j.used("task t"), 40);
}

TROUPE_TEST("what is withdrawn or decided after its task's end starts no clock") {
  journal_of j;
  approval_requested request;
  request.id = "x";
  approval_decided decided;
  decided.id = "y";
  j.at(0, run_started{}).at(0, task_started{}, "t").at(5, request, "t").at(10, task_finished{}, "t");
  j.at(20, approval_withdrawn{"x", 0}, "t").at(30, decided, "t").at(900, message_injected{}, "u");
  CHECK_EQ(j.used("task t"), 5);
}

TROUPE_TEST("who was waited for when an owner died is waited for anew by the next one") {
  journal_of j;
  approval_requested asked;
  asked.id = "x";
  approval_decided decided;
  decided.id = "x";
  j.at(0, run_started{}).at(0, task_started{}, "t").at(10, asked, "t").at(12, message_injected{}, "u");
  j.at(100, run_resumed{}).at(101, message_injected{}, "t").at(103, asked, "t").at(105, decided, "t").at(110, message_injected{}, "t");
  CHECK_EQ(j.used("task t"), 10 + 2 + 5);
}

TROUPE_TEST("elements, members and what a sub-workflow does are their task's time") {
  journal_of j;
  j.at(0, run_started{})
      .at(5, task_started{}, "all[0]")
      .at(45, task_finished{}, "all[0]")
      .at(50, task_started{}, "sub/x")
      .at(70, message_injected{}, "sub/x");
  CHECK_EQ(j.used("task all"), 65);
  CHECK_EQ(j.used("task all[0]"), 40);
  CHECK_EQ(j.used("task sub"), 20);
}

} // namespace
