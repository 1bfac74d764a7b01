// What the rehearsal server's reader of bodies saves: Boost.JSON into memory that is reused, beside the parser of the rest of Troupe.
#include <array>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>

#include <boost/json.hpp>
#include <nlohmann/json.hpp>

namespace {

/// A conversation of so many rounds: a question, a call, its result.
std::string body_of(int rounds) {
  std::string words;
  for (int i = 0; i < 12; ++i)
    words += "Find the cause and say where it stands. ";
  std::string out = R"({"model":"m","messages":[{"role":"system","content":"You are careful."})";
  for (int i = 0; i < rounds; ++i) {
    const auto id = "call_" + std::to_string(i);
    out += R"(,{"role":"user","content":")" + words + R"("},{"role":"assistant","content":null,"tool_calls":[{"id":")" + id
           + R"(","type":"function","function":{"name":"grep","arguments":"{\"pattern\":\"ERROR\"}"}}]},{"role":"tool","tool_call_id":")"
           + id + R"(","content":"one line\nand another\n)" + words + R"("})";
  }
  return out + R"(,{"role":"user","content":")" + words + R"("}]})";
}

template <class Parse>
double microseconds(int times, Parse parse) {
  std::size_t members = 0;
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < times; ++i)
    members += parse();
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - began;
  return members == 0 ? 0 : took.count() / times;
}

} // namespace

int main() {
  static std::array<unsigned char, 128u << 10> memory;
  for (const int rounds : {0, 50}) {
    const auto body = body_of(rounds);
    const int times = 40'000'000 / static_cast<int>(body.size() + 1'000);
    const auto boost = microseconds(times, [&] {
      boost::json::monotonic_resource resource(memory.data(), memory.size());
      boost::json::error_code problem;
      return boost::json::parse(boost::json::string_view(body.data(), body.size()), problem, &resource).get_object().size();
    });
    const auto other = microseconds(times, [&] { return nlohmann::json::parse(body, nullptr, false).size(); });
    std::printf("%6zu bytes: Boost.JSON %.1f us, nlohmann %.1f us: %.1f times as fast\n", body.size(), boost, other, other / boost);
  }
}
