#include "test.hpp"

#include "troupe/approving.hpp"

TROUPE_SUITE(approving)

using namespace troupe;
using namespace troupe::cli;

namespace {

std::string shown(json details, std::size_t width = 400) {
  approval_requested what;
  what.id = "R1-00000000";
  what.subject = "grep";
  what.risk_level = risk::critical;
  what.details = std::move(details);
  std::string text;
  for (const auto& line : request_lines(policy::approval_request(what), "t", "a", 0, width))
    text += line + "\n";
  return text;
}

std::string request_shown(const policy::approval_request& request, std::size_t width = 80) {
  std::string text;
  for (const auto& line : request_lines(request, "t", "a", 0, width))
    text += line + "\n";
  return text;
}

approval_requested call(json arguments, std::int64_t needed = 1) {
  return {.id = "R1-00000000", .subject = "pay", .action = std::move(arguments), .needed = needed, .deadline_us = 1'000};
}

} // namespace

TROUPE_TEST("whoever is asked sees what may run where the tool fails, the riskiest first") {
  const auto text =
      shown({{"alternatives",
              {{{"tool", "ripgrep"}, {"risk", "low"}}, {{"tool", "danger"}, {"risk", "critical"}}, {{"tool", "other"}, {"risk", "low"}}}}});
  CHECK(text.find("  if it fails: \"danger\" (risk critical), \"ripgrep\" (risk low), \"other\" (risk low)\n") != std::string::npos);
  CHECK_EQ(shown({{"description", "d"}}).find("if it fails"), std::string::npos);
  CHECK_EQ(shown({{"alternatives", json::array()}}).find("if it fails"), std::string::npos);
}

TROUPE_TEST("alternatives that are damaged are shown as the worst, and break nothing") {
  CHECK(shown({{"alternatives", {7, {{"tool", "x"}, {"risk", "none"}}}}}).find("\"x\" (risk critical)") != std::string::npos);
}

TROUPE_TEST("nobody is asked about what cannot be seen") {
  const std::string memo(300, 'm');
  const auto text = request_shown(policy::approval_request(call({{"memo", memo}, {"to", "mallory"}, {"usd", 99'999}})));
  CHECK(text.find("  arguments:\n    memo: \"" + memo + "\"\n    to: \"mallory\"\n    usd: 99999\n") != std::string::npos);
  CHECK(request_shown(policy::approval_request(call({{"to", "ana"}, {"usd", 5}}))).find("  arguments: {\"to\":\"ana\",\"usd\":5}\n")
        != std::string::npos);
}

TROUPE_TEST("a text is shown with its lines, and what drives a terminal is not") {
  const auto text = request_shown(policy::approval_request(call("one\ntwo \x1b[2J")));
  CHECK(text.find("  arguments: one\n    two \\x1b[2J\n") != std::string::npos);
}

TROUPE_TEST("what is left out of very much is told") {
  const auto text = request_shown(policy::approval_request(call({{"a", std::string(20'000, 'x')}, {"b", "y"}})));
  CHECK(text.find("… and 3618 bytes more, which `troupe approvals --json` has\n    b: \"y\"\n") != std::string::npos);
  json many;
  for (int i = 0; i < 300; ++i)
    many["k" + std::to_string(i)] = i;
  CHECK(request_shown(policy::approval_request(call(many))).find("    … and 100 more, which `troupe approvals --json` has\n")
        != std::string::npos);
}

TROUPE_TEST("what a reviewer has made of it is what the next one is asked about") {
  policy::approval_request request(call({{"to", "ana"}}, 2));
  REQUIRE(request.apply({policy::approval_choice::modify, "mallory", {}, {{"to", "mallory"}}, {}}, 1).has_value());
  const auto text = request_shown(request);
  CHECK_EQ(text.find("R1-00000000"), std::string::npos);
  CHECK(text.find(request.id()) == 0);
  CHECK(text.find("1 of 2 approvals") != std::string::npos);
  CHECK(text.find("  CHANGED by: mallory\n  arguments: {\"to\":\"mallory\"}\n  asked for: {\"to\":\"ana\"}\n") != std::string::npos);
}
