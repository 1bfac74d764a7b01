#include "test.hpp"

#include <vector>

#include "troupe/policy/request_template.hpp"

TROUPE_SUITE(request_template)

using namespace troupe;
using namespace troupe::policy;
using nlohmann::json;

namespace {

const std::string host = "https://api.example.com";
const std::map<std::string, std::string> keys{{"API_TOKEN", "s3cret-value"}};

request_template made(const request_source& source) {
  auto out = request_template::compile(source);
  if (!out)
    CAF_FAIL(source.url << ": " << out.error().text());
  return *std::move(out);
}

std::string refusal(const request_source& source) {
  const auto out = request_template::compile(source);
  return out ? "" : out.error().message;
}

request_source get(std::string url) {
  request_source out;
  out.url = std::move(url);
  return out;
}

request_source post(json body = nullptr) {
  request_source out;
  out.method = "POST";
  out.url = host + "/items/{{ id }}";
  out.body = std::move(body);
  return out;
}

} // namespace

TROUPE_TEST("an argument cannot leave its place in the address") {
  struct row {
    const char* url;
    json arguments;
    const char* sent; // null: refused
  };
  const std::vector<row> table = {
      {"/v1/{{ city }}", {{"city", "Aachen"}}, "/v1/Aachen"},
      {"/v1/{{ city }}", {{"city", "São Paulo"}}, "/v1/S%C3%A3o%20Paulo"},
      {"/v1/{{ city }}", {{"city", "a/b?c=d&e#f%41;x"}}, "/v1/a%2Fb%3Fc%3Dd%26e%23f%2541%3Bx"},
      {"/v1/{{ city }}", {{"city", "@evil.com:80\\"}}, "/v1/%40evil.com%3A80%5C"},
      {"/v1/{{ city }}", {{"city", "a\r\nHost: evil"}}, "/v1/a%0D%0AHost%3A%20evil"},
      {"/v1/{{ city }}", {{"city", ".."}}, nullptr},
      {"/v1/{{ city }}", {{"city", "."}}, nullptr},
      {"/v1/{{ city }}", {{"city", "../admin"}}, nullptr},
      {"/v1/{{ city }}", {{"city", "a/../../admin"}}, nullptr},
      {"/v1/{{ city }}", {{"city", "a\\..\\admin"}}, nullptr},
      {"/v1/{{ city }}", {{"city", "a..b"}}, "/v1/a..b"},
      {"/v1/{{ city }}", {{"city", "%2e%2e"}}, "/v1/%252e%252e"},
      {"/v1/.{{ city }}", {{"city", "."}}, nullptr},
      {"/v1/{{ city }}{{ more }}", {{"city", "."}, {"more", "."}}, nullptr},
      {"/users/{{ city }}/delete", {{"city", ""}}, nullptr},
      {"/users/{{ city }}/delete", {{"city", nullptr}}, nullptr},
      {"/users/{{ city }}/delete", json::object(), nullptr},
      {"/v1/{{ n }}", {{"n", 7}}, "/v1/7"},
      {"{{ \"{{\" }}", json::object(), nullptr}, // the host ends at the first slash
      {"/find?q={{ q }}", {{"q", "a&b=c d"}}, "/find?q=a%26b%3Dc%20d"},
      {"/find?q={{ q }}&lang=en", {{"q", "../.."}}, "/find?q=..%2F..&lang=en"},
      {"/find?q={{ q }}&page={{ page }}", {{"q", "x"}}, "/find?q=x"},
      {"/find?page={{ page }}&q={{ q }}", {{"q", "x"}}, "/find?q=x"},
      {"/find?page={{ page }}", {{"page", nullptr}}, "/find"},
      {"/find?q={{ q }}", {{"q", ""}}, "/find?q="},
      {"/find?q=a-{{ q }}", json::object(), "/find?q=a-"},
      {"?q={{ q }}", {{"q", "x"}}, "?q=x"},
      {"", json::object(), ""},
      {"/{{ a/b }}?x=1", {{"a/b", "c"}}, "/c?x=1"},
  };
  for (const auto& [url, arguments, sent] : table) {
    IN_ROW(std::string(url) + " with " + arguments.dump());
    const auto parsed = request_template::compile(get(host + url));
    const auto got = parsed ? parsed->render(arguments, {}) : tl::unexpected<error>(parsed.error());
    CHECK_EQ(got ? got->url : "refused", sent == nullptr ? "refused" : host + sent);
  }
}

TROUPE_TEST("scheme, host and port are fixed text, and what is no address is refused with words") {
  struct row {
    const char* url;
    const char* words;
  };
  for (const auto& [url, words] : {
           row{"https://{{ host }}/x", "url: scheme, host and port are fixed text"},
           row{"https://api.{{ tenant }}.com/x", "url: scheme, host and port are fixed text"},
           row{"https://api.example.com:{{ port }}", "url: scheme, host and port are fixed text"},
           row{"https://api.example.com{{ path }}", "url: scheme, host and port are fixed text"},
           row{"{{ scheme }}://x/", "url: it begins with http:// or https://"},
           row{"ftp://x/", "url: it begins with http:// or https://"},
           row{"x", "url: it begins with http:// or https://"},
           row{"https://user:pw@x/", "url: after :// stands a host, without a user or password"},
           row{"https:///x", "url: after :// stands a host"},
           row{"https://x/a#b", "url: a fragment (#) is never sent"},
           row{"https://x/a/../b", "url: its path has \"..\" in it"},
           row{"https://x/{{ a", "url: template, offset 0"},
           row{"https://x/a b", "url: it has a space"},
           row{"https://x/?{{ a }}=1", "url: a name in the query is fixed text"},
           row{"https://x/?k={{ env.API_TOKEN }}", "url: a secret in an address"},
       }) {
    IN_ROW(url);
    CHECK_EQ(refusal(get(url)).substr(0, std::string_view(words).size()), words);
  }
}

TROUPE_TEST("an argument cannot make a header line, and secrets stand in headers only") {
  auto source = get(host);
  source.headers = {{"Authorization", "Bearer {{ env.API_TOKEN }}"}, {"X-Who", "{{ who }}"}, {"X-Note", "n {{ note }}"}};
  const auto template_ = made(source);
  CHECK_EQ(template_.secrets(), std::vector<std::string>{"API_TOKEN"});
  CHECK_EQ(template_.credentials(), std::vector<std::string>{"Authorization"});
  const auto sent = template_.render({{"note", "{{ env.API_TOKEN }}"}}, keys);
  REQUIRE(sent.has_value());
  const std::vector<std::pair<std::string, std::string>> headers{{"Authorization", "Bearer s3cret-value"},
                                                                 {"X-Note", "n {{ env.API_TOKEN }}"}};
  CHECK(sent->headers == headers); // X-Who is left out, and what an argument says is no template
  for (const char* evil : {"a\r\nX-Evil: 1", "a\nb", "a\x7F", "a\x1B[2J"}) {
    IN_ROW(json(evil).dump());
    CHECK(!template_.render({{"who", evil}}, keys));
  }
  CHECK(!template_.render({{"who", std::string("a\0b", 3)}}, keys));
  CHECK(!template_.render({{"who", std::string(20'000, 'x')}}, keys));
  // An argument that is called like the secrets' scope does not stand in for them.
  CHECK_EQ(template_.render({{"env", {{"API_TOKEN", "mine"}}}}, keys)->headers.front().second, "Bearer s3cret-value");
  for (const char* name : {"Host", "content-length", "Transfer-Encoding", "Connection", "Idempotency-Key", "TE"}) {
    IN_ROW(name);
    auto reserved = get(host);
    reserved.headers = {{name, "x"}};
    CHECK_EQ(refusal(reserved), std::string("headers/") + name + ": it belongs to the transfer and cannot be set here");
  }
}

TROUPE_TEST("a body is what is left of the arguments, or what the file says, with the values' types") {
  struct row {
    json body;
    json arguments;
    const char* sent;
    const char* type;
  };
  const std::vector<row> table = {
      {nullptr, {{"id", "1"}, {"n", 2}, {"deep", {{"a", true}}}}, R"({"deep":{"a":true},"n":2})", "application/json"},
      {nullptr, {{"id", "1"}}, "{}", "application/json"},
      {"{{ text }}", {{"id", "1"}, {"text", "a\r\nb"}}, "a\r\nb", "text/plain; charset=utf-8"},
      {{{"name", "{{ name }}"}, {"n", "{{ n }}"}, {"tags", {"a", "{{ tag }}"}}, {"fixed", 3}, {"words", "n is {{ n }}"}},
       {{"id", "1"}, {"name", "\"}, {\"evil\": \""}, {"n", 2.5}, {"tag", "b"}},
       R"({"fixed":3,"n":2.5,"name":"\"}, {\"evil\": \"","tags":["a","b"],"words":"n is 2.5"})",
       "application/json"},
      {{{"name", "{{ name }}"}, {"keep", nullptr}}, {{"id", "1"}}, R"({"keep":null})", "application/json"}, // absent: left out
      {json::array({"{{ id }}"}), {{"id", "1"}}, R"(["1"])", "application/json"},
  };
  for (const auto& [body, arguments, sent, type] : table) {
    IN_ROW(body.dump());
    const auto got = made(post(body)).render(arguments, {});
    REQUIRE(got.has_value());
    CHECK_EQ(got->body, sent);
    REQUIRE(got->headers.size() == 1u);
    CHECK_EQ(got->headers.front().second, type);
  }
  auto source = get(host);
  source.body = {{"a", 1}};
  CHECK_EQ(refusal(source), "body: a GET has none");
  CHECK_EQ(refusal(post({{"k", {{"x", "{{ env.API_TOKEN }}"}}}})), "body/k/x: secrets stand in headers only, as {{ env.NAME }}");
  source = get(host);
  source.method = "DELETE";
  CHECK_EQ(made(source).render({{"left", 1}}, {})->body, "");
}

TROUPE_TEST("a value stays in its place in a body that is a text") {
  struct row {
    const char* body;
    const char* type; ///< as configured
    json value;
    const char* sent;
    const char* told; ///< the content type
    bool loose;
  };
  const json evil = "a\",\"admin\":true,\"x\":\"\n";
  const std::vector<row> table = {
      {R"({"to":"{{ v }}","admin":false})", "", evil, R"({"to":"a\",\"admin\":true,\"x\":\"\n","admin":false})", "application/json", false},
      {R"({"to":"{{ v }}"})", "application/json", evil, R"({"to":"a\",\"admin\":true,\"x\":\"\n"})", "application/json", false},
      {R"({"n":{{ v }}})", "", evil, R"({"n":"a\",\"admin\":true,\"x\":\"\n"})", "application/json", false},
      {R"({"n":{{ v }},"s":"{{ v }}"})", "", 3, R"({"n":3,"s":"3"})", "application/json", false},
      {R"({"s":"{{ v }}"})", "", json::object({{"a", "b"}}), R"({"s":"{\"a\":\"b\"}"})", "application/json", false},
      {R"({"n":{{ v }},"s":"{{ v }}"})", "", nullptr, R"({"n":null,"s":""})", "application/json", false},
      {R"({"n":{{ w }},"s":"{{ w }}"})", "", 1, R"({"n":null,"s":""})", "application/json", false},
      {R"({"s":"\"{{ v }}\\","t":"{{ v }}"})", "", "\"", R"({"s":"\"\"\\","t":"\""})", "application/json", false},
      {"to={{ v }}&admin=0", "", "a&admin=1", "to=a%26admin%3D1&admin=0", "application/x-www-form-urlencoded", false},
      {"to={{ v }} {{ v }}", "application/x-www-form-urlencoded", "&", "to=%26 %26", "application/x-www-form-urlencoded", false},
      {"{{ v }}", "", "a&b=\"", "a&b=\"", "text/plain; charset=utf-8", false}, // the value is all of it
      {"[alert] {{ v }}", "", "a\"", "[alert] a\"", "text/plain; charset=utf-8", true},
      {"<to>{{ v }}</to>", "text/xml", "</to>", "<to></to></to>", "text/xml", true},
      {"to={{ v }}", "text/plain", "a&b", "to=a&b", "text/plain", true},
      {"a b={{ v }}", "", "&", "a b=&", "text/plain; charset=utf-8", true},
      {"plain", "", "&", "plain", "text/plain; charset=utf-8", false},
  };
  for (const auto& each : table) {
    IN_ROW(each.body);
    auto source = post(each.body);
    source.content_type = each.type;
    const auto got = made(source).render({{"id", "1"}, {"v", each.value}}, {});
    REQUIRE(got.has_value());
    CHECK_EQ(got->body, each.sent);
    CHECK_EQ(got->headers.front().second, each.told);
    CHECK_EQ(made(source).has_loose_values(), each.loose);
  }
  CHECK_EQ(refusal(post(R"({"s":"\{{ v }}","content":1})")), ""); // it is no JSON, so nothing is escaped in it
  auto source = post(R"({"s":"\{{ v }}"})");
  source.content_type = "application/json";
  CHECK_EQ(refusal(source).substr(0, 17), "body: a backslash");
}

TROUPE_TEST("it tells what it reads") {
  auto source = post({{"x", {"{{ in_body.deep }}"}}});
  source.url += "?q={{ q }}&r={{ q }}";
  source.headers = {{"X", "{{ in_header }} {{ env.K }}"}};
  CHECK_EQ(made(source).arguments(), (std::vector<std::string>{"id", "q", "in_header", "in_body"}));
  CHECK_EQ(made(source).origin(), host);
  CHECK(!made(source).sends_the_rest());
  CHECK(made(post()).sends_the_rest());
}
