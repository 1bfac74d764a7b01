#include "test.hpp"

#include <cstdlib>

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
