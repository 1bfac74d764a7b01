#include "troupe/tools/mcp_message.hpp"

#include "test.hpp"

TROUPE_SUITE(mcp_message)

using namespace troupe;
using namespace troupe::tools;

TROUPE_TEST("a table of texts: what is a message, and what is wrong with one that is none") {
  struct row {
    const char* text;
    const char* wrong; ///< null: it is one
  };
  const row rows[] = {
      {R"({"jsonrpc":"2.0","id":1,"method":"ping"})", nullptr},
      {R"({"jsonrpc":"2.0","id":"a","result":{}})", nullptr},
      {R"({"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"unreadable"}})", nullptr},
      {R"({"id":1,"method":"ping"})", "it does not say \"jsonrpc\": \"2.0\""},
      {R"({"jsonrpc":"1.0","id":1,"result":{}})", "it does not say \"jsonrpc\": \"2.0\""},
      {R"({"jsonrpc":2.0,"id":1,"result":{}})", "it does not say \"jsonrpc\": \"2.0\""},
      {R"("hello")", "a message is an object, and this is string"},
      {R"({"jsonrpc":"2.0","id":1})", "it has neither method, result nor error"},
      {R"({"jsonrpc":"2.0","method":7})", "its method is no string"},
      {R"({"jsonrpc":"2.0","id":null,"method":"ping"})", "a request's id is neither a string nor an integer"},
      {R"({"jsonrpc":"2.0","method":"x","params":[1]})", "the params of \"x\" are no object"},
      {R"({"jsonrpc":"2.0","id":1.5,"result":{}})", "a result without the id of its request"},
      {R"({"jsonrpc":"2.0","id":1,"result":[]})", "its result is no object"},
      {R"({"jsonrpc":"2.0","id":1,"error":{"message":"no"}})", "an error without an integer code"},
      {R"({"jsonrpc":"2.0","id":[],"error":{"code":1}})", "an error's id is neither a string nor an integer"},
      {"[]", "an empty batch"},
      {R"([{"jsonrpc":"2.0","method":"a"},{"method":"b"}])", "it does not say \"jsonrpc\": \"2.0\""},
  };
  for (const auto& r : rows) {
    IN_ROW(r.text);
    const auto read = parse_mcp_messages(r.text);
    CHECK_EQ(read ? std::string() : read.error().message, std::string(r.wrong ? r.wrong : ""));
  }
}

TROUPE_TEST("messages of a batch are taken in their order, each as what it is") {
  const auto read = parse_mcp_messages(R"([{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","id":1,"method":"b","params":{"x":1}},)"
                                       R"({"jsonrpc":"2.0","id":"c","result":{}},{"jsonrpc":"2.0","id":2,"error":{"code":7}}])");
  REQUIRE(read.has_value() && read->size() == 4u);
  using kind = mcp_message::kind;
  CHECK((*read)[0].what == kind::notification);
  CHECK((*read)[1].what == kind::request);
  CHECK_EQ((*read)[1].params, (json{{"x", 1}}));
  CHECK((*read)[2].what == kind::result);
  CHECK_EQ((*read)[2].id, json("c"));
  CHECK((*read)[3].what == kind::error);
  CHECK_EQ((*read)[3].code, 7);
}
