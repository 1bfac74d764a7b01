// What a verdict costs: one step of an agent with a history of 12 calls, judged by what its supervisor holds, beside what the agent does
// once for each call, the sign of its arguments.
#include <chrono>
#include <cstdio>
#include <string>

#include "troupe/policy/loop_watch.hpp"

namespace {

using namespace troupe::policy;

template <class Body>
double nanoseconds(int times, Body body) {
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < times; ++i)
    body(static_cast<std::uint64_t>(i));
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
  return took.count() / times;
}

/// Arguments of about so many bytes, as a model writes them.
std::string arguments_of(std::size_t bytes) {
  std::string text = R"({"path":"report.md","overwrite":true,"line":12,"text":")";
  while (text.size() + 40 < bytes)
    text += "The Disk of the database server was full. ";
  return text + "\"}";
}

void judge(const char* name, std::uint64_t distinct, bool reads) {
  loop_watch watch;
  std::size_t found = 0;
  loop_step step{.earlier = {{1, true, true, false}}, .calls = {{1, 1, reads, false}}};
  const auto took = nanoseconds(2'000'000, [&](std::uint64_t i) {
    step.number = static_cast<std::int64_t>(i);
    step.calls[0].sign = 1 + i % distinct;
    step.calls[0].tool = 1 + i % 5;
    step.earlier[0].outcome = 1 + i % distinct;
    found += watch.observe(step).found.has_value();
  });
  std::printf("%-58s %7.0f ns a step, found in %zu of 2000000\n", name, took, found);
}

} // namespace

int main() {
  std::printf("detection, history of 12\n");
  judge("  different calls of tools that read", 1'000'003, true);
  judge("  different calls of tools that write", 1'000'003, false);
  judge("  the same call again and again", 1, true);
  judge("  two calls in turns", 2, false);
  {
    std::string words;
    for (int i = 0; i < 2'000; ++i)
      words += "word" + std::to_string(i) + " ";
    const auto text = sketch_of(words);
    loop_watch watch;
    loop_step step{.said = text};
    std::size_t found = 0;
    const auto took = nanoseconds(200'000, [&](std::uint64_t i) {
      step.number = static_cast<std::int64_t>(i);
      step.said->whole = i; // never the same, so that the samples are compared
      found += watch.observe(step).found.has_value();
    });
    std::printf("%-58s %7.0f ns a step, found in %zu of 200000\n", "  answers of 2,000 words that are nearly the same", took, found);
  }
  std::printf("signs, once a call\n");
  for (const std::size_t bytes : {100u, 1'000u, 10'000u}) {
    const auto arguments = arguments_of(bytes);
    std::uint64_t sum = 0;
    const auto took =
        nanoseconds(static_cast<int>(20'000'000 / (bytes + 1'000)), [&](std::uint64_t) { sum += call_sign("write_file", arguments); });
    std::printf("  %6zu bytes of arguments %32s %7.0f ns%s\n", arguments.size(), "", took, sum == 1 ? " " : "");
  }
}
