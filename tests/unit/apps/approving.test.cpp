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
  for (const auto& line : request_lines(what, "t", "a", 0, 0, width))
    text += line + "\n";
  return text;
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
