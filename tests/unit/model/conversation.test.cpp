#include "troupe/model/conversation.hpp"

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "test.hpp"

TROUPE_SUITE(conversation)

using namespace troupe;

namespace {

message_ptr says(std::string text) {
  return std::make_shared<const chat_message>(chat_message{role::user, std::move(text), {}, "", false});
}
message_ptr calls(const std::string& id) {
  return std::make_shared<const chat_message>(chat_message{role::assistant, "", {{id, "grep", "{}"}}, "", false});
}
conversation numbers(int count) {
  conversation made;
  for (int i = 0; i < count; ++i)
    made.push_back(says(std::to_string(i)));
  return made;
}

} // namespace

TROUPE_TEST("what is appended is read back at every length") {
  for (const int count : {0, 1, 31, 32, 33, 64, 65, 1'000}) {
    const auto list = numbers(count);
    CHECK_EQ(list.size(), static_cast<std::size_t>(count));
    int at = 0;
    bool same = true;
    for (const auto& message : list)
      same = same && message->text == std::to_string(at++);
    CHECK(same);
    CHECK_EQ(at, count);
  }
}

TROUPE_TEST("a copy sees what was there, and two that grow go their own ways") {
  for (const int count : {1, 5, 31, 32, 40}) {
    auto one = numbers(count);
    const std::vector<message_ptr> before(one.begin(), one.end());
    auto other = one;
    const auto third = one;
    one.push_back(says("one"));
    other.push_back(says("other"));
    one.push_back(says("one more"));
    CHECK(std::equal(third.begin(), third.end(), before.begin(), before.end()));
    CHECK_EQ(one.size(), third.size() + 2);
    CHECK_EQ(one[third.size()]->text, "one");
    CHECK_EQ(other.size(), third.size() + 1);
    CHECK_EQ(other.back()->text, "other");
    CHECK(other[0] == third[0]); // the very same message
  }
}

TROUPE_TEST("its sums are those of its messages") {
  conversation list{says("hällo"), calls("c1")};
  list.push_back(std::make_shared<const chat_message>(chat_message{role::tool, "found", {}, "c1", false}));
  list.push_back(nullptr);
  const auto& sums = list.totals();
  CHECK_EQ(sums.characters, 5 + 4 + 2 + 5);
  CHECK_EQ(sums.content_bytes, 6 + 4 + 2 + 5);
  CHECK_EQ(sums.bytes, sums.content_bytes + 2 + 2);
  CHECK_EQ(sums.answers, 1);
  CHECK_EQ(sums.calls, 1);
  list.clear();
  CHECK_EQ(list.totals().bytes, 0);
}

TROUPE_TEST("a call is found by its id wherever it stands") {
  conversation list;
  for (int i = 0; i < 100; ++i)
    list.push_back(calls("call" + std::to_string(i)));
  auto shorter = conversation(list.begin(), list.begin() + 40);
  for (const int i : {0, 31, 32, 63, 64, 99})
    CHECK(list.has_call("call" + std::to_string(i)));
  CHECK(!list.has_call("call100"));
  CHECK(!list.has_call(""));
  CHECK(!shorter.has_call("call40"));
  CHECK(!conversation{}.has_call("x"));
  const auto before = list;
  list.push_back(calls("later"));
  CHECK(list.has_call("later"));
  CHECK(!before.has_call("later"));
}

TROUPE_TEST("one thread reads its copy while another appends") {
  auto list = numbers(10);
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::thread reader([copy = list, &stop, &wrong] {
    while (!stop)
      for (std::size_t i = 0; i < copy.size(); ++i)
        wrong += copy[i]->text == std::to_string(i) ? 0 : 1;
  });
  for (int i = 10; i < 20'000; ++i)
    list.push_back(says(std::to_string(i)));
  stop = true;
  reader.join();
  CHECK_EQ(wrong.load(), 0);
  CHECK_EQ(list.size(), 20'000u);
}
