#include "test.hpp"

#include <random>

#include "troupe/llm/sse_parser.hpp"

TROUPE_SUITE(sse_parser)

using namespace troupe::llm;

namespace {

/// "type:data;" for each event.
std::string events_of(std::string_view stream, const std::vector<std::size_t>& pieces = {}) {
  sse_parser parser;
  std::string out;
  const auto sink = [&](const sse_event& event) {
    out.append(event.type).append(":").append(event.data).append(";");
    return true;
  };
  for (const auto size : pieces) {
    parser.feed(stream.substr(0, size), sink);
    stream.remove_prefix(std::min(size, stream.size()));
  }
  parser.feed(stream, sink);
  return out;
}

struct row {
  const char* rule;
  std::string stream;
  std::string expected;
};

const std::vector<row> rows{
    {"lines end with LF", "data: a\n\n", "message:a;"},
    {"lines end with CR", "data: a\r\r", "message:a;"},
    {"lines end with CRLF", "data: a\r\n\r\n", "message:a;"},
    {"line ends may be mixed", "data: a\rdata: b\ndata: c\r\n\n", "message:a\nb\nc;"},
    {"data lines are joined by LF", "data: a\ndata: b\n\n", "message:a\nb;"},
    {"one space after the colon is dropped, no more", "data:a\n\ndata:  b\n\n", "message:a;message: b;"},
    {"a field without a colon has an empty value", "data\n\n", "message:;"},
    {"two empty data lines are one LF", "data\ndata\n\n", "message:\n;"},
    {"comments are ignored", ": ping\n\n:\ndata: a\n:\n\n", "message:a;"},
    {"unknown fields, id and retry are ignored", "id: 1\nretry: 5\nfoo: bar\nDATA: x\ndata : y\ndata: a\n\n", "message:a;"},
    {"an event has its type, once", "event: ping\ndata: a\n\ndata: b\n\n", "ping:a;message:b;"},
    {"an event without data is none, and its type is forgotten", "event: ping\n\ndata: b\n\n", "message:b;"},
    {"what no blank line ends is no event", "data: a\n\ndata: b\n", "message:a;"},
    {"a leading BOM is skipped, once",
     "\xEF\xBB\xBF"
     "data: a\n\n\xEF\xBB\xBF"
     "data: b\n\n",
     "message:a;"},
    {"half a BOM is content",
     "\xEF\xBB"
     "data: a\n\ndata: b\n\n",
     "message:b;"},
    {"colons belong to the value", "data: {\"a\": 1}\n\n", "message:{\"a\": 1};"},
    {"NUL is a byte", std::string("data: a\0b\n\n", 11), std::string("message:a\0b;", 12)},
    {"blank lines alone are nothing", "\n\r\n\r\n\n", ""},
    {"nothing is nothing", "", ""},
};

} // namespace

TROUPE_TEST("the rules of WHATWG, one a row") {
  for (const auto& each : rows) {
    IN_ROW(each.rule);
    CHECK_EQ(events_of(each.stream), each.expected);
  }
}

TROUPE_TEST("any split gives the same events") {
  std::string all;
  for (const auto& each : rows) {
    IN_ROW(each.rule);
    CHECK_EQ(events_of(each.stream, std::vector<std::size_t>(each.stream.size(), 1)), each.expected);
    for (std::size_t first = 0; first <= each.stream.size(); ++first)
      for (std::size_t second = 0; first + second <= each.stream.size(); ++second)
        REQUIRE(events_of(each.stream, {first, second}) == each.expected);
    all += each.stream + "\n\n";
  }
  std::mt19937 random(7);
  const auto whole = events_of(all);
  for (int round = 0; round < 500; ++round) {
    std::vector<std::size_t> pieces(all.size());
    for (auto& size : pieces)
      size = random() % 9;
    REQUIRE(events_of(all, pieces) == whole);
  }
}

TROUPE_TEST("random streams of the grammar's own characters parse alike in any split") {
  std::mt19937 random(11);
  const std::vector<std::string> alphabet{"data", "event", "id", ":", ": ", "\r", "\n", "\r\n", "a", " ", "\xEF\xBB\xBF", "\xEF"};
  for (int round = 0; round < 2'000; ++round) {
    std::string stream;
    for (auto left = random() % 40; left > 0; --left)
      stream += alphabet[random() % alphabet.size()];
    const auto whole = events_of(stream);
    REQUIRE(events_of(stream, std::vector<std::size_t>(stream.size(), 1)) == whole);
    REQUIRE(events_of(stream, {random() % (stream.size() + 1), random() % (stream.size() + 1)}) == whole);
  }
}

TROUPE_TEST("lines and events are bounded, and nothing is parsed after a break") {
  const sse_parser::limits bounds{10, 20};
  struct bound_row {
    const char* rule;
    std::string stream;
    bool overflows;
  };
  for (const auto& each :
       {bound_row{"a line of just the limit", "data: 1234\n\n", false}, bound_row{"one byte more", "data: 12345\n\n", true},
        bound_row{"a line that does not end", "data: 12345", true}, bound_row{"a comment counts", ":1234567890", true},
        bound_row{"an event of many lines", "data: 1234\ndata: 1234\ndata: 1234\ndata: 1234\ndata: 1234\n\n", true}}) {
    IN_ROW(each.rule);
    for (const std::size_t size : {std::size_t{1}, each.stream.size()}) {
      sse_parser parser(bounds);
      const auto sink = [](const sse_event&) { return true; };
      bool fed = true;
      for (std::size_t at = 0; at < each.stream.size(); at += size)
        fed = parser.feed(std::string_view(each.stream).substr(at, size), sink);
      CHECK_EQ(fed, !each.overflows);
      CHECK_EQ(parser.overflowed(), each.overflows);
    }
  }
}

TROUPE_TEST("a sink that stops is not called again") {
  sse_parser parser;
  int calls = 0;
  const auto sink = [&](const sse_event&) { return ++calls < 2; };
  CHECK(!parser.feed("data: 1\n\ndata: 2\n\ndata: 3\n\n", sink));
  CHECK(!parser.feed("data: 4\n\n", sink));
  CHECK_EQ(calls, 2);
  CHECK(!parser.overflowed());
}

TROUPE_TEST("the id to resume after and the wait before it are kept from event to event") {
  sse_parser parser;
  const auto sink = [](const sse_event&) { return true; };
  CHECK(parser.feed("id: 1\nretry: 500\n", sink));
  CHECK_EQ(parser.last_id(), ""); // its event has not ended
  CHECK(parser.feed("data: a\n\ndata: b\n\n", sink));
  CHECK_EQ(parser.last_id(), "1");
  CHECK(parser.retry() == std::chrono::milliseconds(500));
  CHECK(parser.feed("id: 2\n\nretry: soon\nretry: -1\n\n", sink)); // an id without data counts, too
  CHECK_EQ(parser.last_id(), "2");
  CHECK(parser.retry() == std::chrono::milliseconds(500));
}
