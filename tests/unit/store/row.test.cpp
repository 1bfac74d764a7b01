#include "troupe/store/row.hpp"

#include "test.hpp"

TROUPE_SUITE(row)

using namespace troupe;
using namespace troupe::store;

TROUPE_TEST("a checksum sees a change of each column, of the row before, and of where a text stands") {
  const row_view base{7, 1'000, "llm_responded", "task", "agent", "{}", "hash"};
  const auto sum = row_checksum(1, base);
  struct row {
    const char* name;
    row_view changed;
  };
  for (const auto& [name, changed] : std::vector<row>{
           {"seq", {8, 1'000, "llm_responded", "task", "agent", "{}", "hash"}},
           {"time", {7, 1'001, "llm_responded", "task", "agent", "{}", "hash"}},
           {"type", {7, 1'000, "llm_requested", "task", "agent", "{}", "hash"}},
           {"task", {7, 1'000, "llm_responded", "tusk", "agent", "{}", "hash"}},
           {"agent", {7, 1'000, "llm_responded", "task", "agenz", "{}", "hash"}},
           {"body", {7, 1'000, "llm_responded", "task", "agent", "[]", "hash"}},
           {"shared text", {7, 1'000, "llm_responded", "task", "agent", "{}", "hush"}},
           {"text moved to the next column", {7, 1'000, "llm_responded", "tas", "kagent", "{}", "hash"}},
       }) {
    IN_ROW(name);
    CHECK(row_checksum(1, changed) != sum);
  }
  CHECK(row_checksum(2, base) != sum);
  CHECK_EQ(row_checksum(1, base), sum);
  CHECK(first_checksum("r1") != first_checksum("r2"));
}

TROUPE_TEST("a checksum is the CRC-32 of the row's columns in one piece, each text behind its length: files keep it for ever") {
  CHECK_EQ(first_checksum("r1"), 2879955717u);
  CHECK_EQ(row_checksum(1, {7, 1'000, "llm_responded", "task", "agent", "{}", "hash"}), 938549729u);
  CHECK_EQ(row_checksum(1, {7, 1'000, "llm_responded", "task", "agent", std::string(1'000, 'x'), {}}), 1329144578u);
  std::string agent;
  for (int i = 0; i < 60; ++i)
    agent += "agent";
  CHECK_EQ(row_checksum(4'000'000'000, {7, 1'000, std::string(250, 't'), "task", agent, "{}", "hash"}), 3149192347u);
}
