#include "test.hpp"

#include <cstdlib>

#include "llm/exchange.hpp"
#include "troupe/llm/http_client.hpp"
#include "troupe/llm/provider_factory.hpp"

TROUPE_SUITE(provider_factory)

using namespace troupe;
using namespace troupe::llm;

TROUPE_TEST("what can be no API key is refused with its variable's name, and nothing of it is shown") {
  struct row {
    const char* name;
    const char* key;
    const char* words; ///< "": it is taken
  };
  for (const auto& each : {
           row{"a plain key", "sk-0123456789", ""},
           row{"a space within", "Basic dXNlcg==", ""},
           row{"a line break within", "sk-01234\n56789", "has a line break"},
           row{"a NUL's neighbour", "sk-\x01 56789", "another control character"},
           row{"a final line break", "sk-0123456789\n", "ends with a line break, as what was read from a file often does"},
           row{"a file from Windows", "sk-0123456789\r\n", "ends with a line break"},
           row{"a leading space", " sk-0123456789", "has white space before or after"},
           row{"a trailing tab", "sk-0123456789\t", "has white space before or after"},
           row{"white space alone", " \n", "is nothing but white space"},
       }) {
    IN_ROW(each.name);
    ::setenv("TROUPE_TEST_API_KEY", each.key, 1);
    provider_spec spec;
    spec.name = "p";
    spec.api_key_env = "TROUPE_TEST_API_KEY";
    const auto key = read_api_key(spec);
    CHECK_EQ(key.has_value(), *each.words == '\0');
    if (key) {
      CHECK_EQ(*key, each.key);
      continue;
    }
    CHECK(key.error().code == error_code::invalid_argument);
    CHECK_EQ(key.error().text().rfind("provider \"p\": the API key in the environment variable \"TROUPE_TEST_API_KEY\" ", 0), 0u);
    CHECK(key.error().text().find(each.words) != std::string::npos);
    CHECK(key.error().text().find("56789") == std::string::npos);
  }
}

TROUPE_TEST("the path of a service stands before the query of its base_url") {
  struct row {
    provider_kind kind;
    const char* base_url;
    const char* target;
  };
  test::test_server server([](const auto&) { return test::test_server::reply{test::test_server::ok("{}")}; });
  http_client client;
  for (const auto& each : {
           row{provider_kind::openai, "/v1", "/v1/chat/completions"},
           row{provider_kind::openai, "/openai/deployments/x?api-version=2024-10-21",
               "/openai/deployments/x/chat/completions?api-version=2024-10-21"},
           row{provider_kind::openai, "/v1/?at=/", "/v1/chat/completions?at=/"},
           row{provider_kind::anthropic, "/v1?x=1", "/v1/messages?x=1"},
       }) {
    IN_ROW(each.base_url);
    provider_spec spec;
    spec.kind = each.kind;
    spec.base_url = server.url(each.base_url);
    const auto with = make_provider(spec, client, {});
    REQUIRE(with.has_value());
    test::start(**with, test::simple_request()).get();
    CHECK_EQ(server.last().target, each.target);
  }
}

TROUPE_TEST("a key in the query of base_url is taken out of all that comes back, another value out of errors only") {
  test::test_server server([](const auto& request) {
    const auto words = R"("?key=query-key-0123%21 query-key-0123! of 2024-10-21")";
    return request.target.find("fail") == std::string::npos
               ? test::test_server::reply{test::test_server::ok(R"({"choices":[{"message":{"content":)" + std::string(words) + "}}]}")}
               : test::test_server::reply{test::test_server::ok(R"({"error":)" + std::string(words) + "}", "", "400 Bad Request")};
  });
  http_client client;
  provider_spec spec;
  spec.kind = provider_kind::openai;
  const auto ask = [&](const char* base_url) {
    spec.base_url = server.url(base_url);
    const auto with = make_provider(spec, client, {});
    return test::start(**with, test::simple_request()).get();
  };
  const auto answered = ask("/v1?api-version=2024-10-21&Key=query-key-0123%21");
  REQUIRE(std::holds_alternative<llm_response>(answered));
  CHECK_EQ(std::get<llm_response>(answered).message.text, "?key=[redacted] [redacted] of 2024-10-21");
  const auto failed = ask("/fail?api-version=2024-10-21&&key");
  REQUIRE(std::holds_alternative<llm_failure>(failed));
  CHECK_EQ(std::get<llm_failure>(failed).message, "?key=[redacted] [redacted] of [redacted]");
}

TROUPE_TEST("a variable that is not set is named together with its provider") {
  provider_spec spec;
  spec.name = "p";
  CHECK_EQ(*read_api_key(spec), "");
  spec.api_key_env = "TROUPE_TEST_NO_KEY";
  const auto none = read_api_key(spec);
  REQUIRE(!none);
  CHECK(none.error().code == error_code::not_found);
  CHECK(none.error().text().rfind("provider \"p\": ", 0) == 0);
}
