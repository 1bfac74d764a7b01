#include "troupe/policy/loop_sign.hpp"

#include "test.hpp"

TROUPE_SUITE(loop_sign)

using namespace troupe::policy;

TROUPE_TEST("arguments that differ trivially are one call, others are not") {
  struct row {
    const char* name;
    const char* one;
    const char* other;
    bool same;
  };
  const row rows[] = {
      {"order of members", R"({"a":1,"b":2})", R"({"b":2,"a":1})", true},
      {"order of members deep inside", R"([{"a":1,"b":[{"x":1,"y":2}]}])", R"([{"b":[{"y":2,"x":1}],"a":1}])", true},
      {"white space of the text", R"({"a":[1,2]})", "{ \"a\" :\n[ 1 , 2 ] }", true},
      {"1.0 is 1", R"({"n":1})", R"({"n":1.0})", true},
      {"1e2 is 100", R"({"n":100})", R"({"n":1e2})", true},
      {"-0.0 is 0", R"({"n":0})", R"({"n":-0.0})", true},
      {"escapes", R"({"s":"A\/b"})", R"({"s":"\u0041/b"})", true},
      {"capitals", R"({"s":"ReadMe"})", R"({"s":"README"})", true},
      {"capitals beyond ASCII", R"({"s":"ÄΣЖ"})", R"({"s":"äσж"})", true},
      {"the final sigma", R"({"s":"ΟΔΟΣ"})", R"({"s":"οδος"})", true},
      {"blanks at the ends and runs of them", R"({"s":"a b"})", R"({"s":"\t a \n\n b "})", true},
      {"a no-break space is a blank", "{\"s\":\"a b\"}", "{\"s\":\"a\xC2\xA0 b\"}", true},
      {"no arguments, or an empty object", "", "{}", true},
      {"text that is no JSON", "{path: A", "{path:  a ", true},
      {"arrays have an order", "[1,2]", "[2,1]", false},
      {"nested or not", "[[1],2]", "[1,[2]]", false},
      {"a text is no number", R"({"n":"1"})", R"({"n":1})", false},
      {"a text is no truth value", R"({"n":"true"})", R"({"n":true})", false},
      {"true and false", R"({"n":false})", R"({"n":true})", false},
      {"null and absent", R"({"n":null})", "{}", false},
      {"names of members are exact", R"({"Path":1})", R"({"path":1})", false},
      {"1.5 and 1", R"({"n":1.5})", R"({"n":1})", false},
      {"integers beyond 2^53", R"({"n":9007199254740993})", R"({"n":9007199254740992})", false},
      {"a blank inside of a word", R"({"s":"ab"})", R"({"s":"a b"})", false},
      {"where one text ends and the next begins", R"(["ab","c"])", R"(["a","bc"])", false},
      {"no JSON and JSON", R"({"a":1)", R"({"a":1})", false},
  };
  for (const auto& r : rows) {
    IN_ROW(r.name);
    CHECK_EQ(call_sign("t", r.one) == call_sign("t", r.other), r.same);
  }
  CHECK(call_sign("a", "{}") != call_sign("b", "{}"));
}

TROUPE_TEST("members that loop_ignore names do not count, those inside of others do") {
  const std::vector<std::string> ignored{"request_id", "at"};
  CHECK_EQ(call_sign("t", R"({"q":1,"request_id":"x","at":5})", ignored), call_sign("t", R"({"q":1,"request_id":"y"})", ignored));
  CHECK(call_sign("t", R"({"q":{"at":5}})", ignored) != call_sign("t", R"({"q":{"at":6}})", ignored));
  CHECK(call_sign("t", R"({"q":1,"at":5})") != call_sign("t", R"({"q":1,"at":6})"));
}

TROUPE_TEST("numbers stay the same in every version: journals outlive them") {
  CHECK_EQ(call_sign("read_file", R"({"path": "a.txt", "lines": 10})"), 7714210372414738589u);
  CHECK_EQ(outcome_sign("12 lines\n"), 12797997120196094624u);
  CHECK_EQ(tool_sign("read_file"), 11727023867706094377u);
}

TROUPE_TEST("hostile arguments are only text") {
  const std::string deep(100'000, '[');
  CHECK_EQ(call_sign("t", deep), call_sign("t", deep + " "));
  const std::string bytes = "\xFF\xC3(\xF0\x9F \xED\xA0\x80";
  CHECK_EQ(call_sign("t", bytes), call_sign("t", bytes));
  CHECK(call_sign("t", "\xC3") != call_sign("t", "\xC2"));
  CHECK_EQ(normalised_text("\xF0\x9F"), std::string("\xF0\x9F"));
}

TROUPE_TEST("outcomes that are empty by nature tell nothing") {
  for (const auto* hollow : {"",
                             " \n",
                             "null",
                             "[]",
                             "{}",
                             "\"\"",
                             "OK",
                             "ok.",
                             "Done!",
                             "true",
                             "False",
                             "0",
                             "No results found.",
                             "[nothing found]\n",
                             "(no output)",
                             "[ ]",
                             R"({"items": [], "total": 0, "next": null})",
                             R"({"free": false})",
                             R"([{"rows": []}, ""])",
                             "status: ok",
                             "errors=0\n\nwarnings: none\n"})
    if (!is_hollow(hollow))
      CAF_ERROR("not hollow: " << hollow);
  for (const auto* full : {"1", "offline", "not found: a.txt", R"({"error": "offline"})", R"({"total": 3})", "[0, 1]", "true story",
                           "okay then", "error: timeout", "status: ok\nload: 0.4", "a b: ok", ": x", "load\nstatus: ok"})
    if (is_hollow(full))
      CAF_ERROR("hollow: " << full);
  CHECK(!is_hollow(std::string(600, '[')));
}

TROUPE_TEST("texts are nearly the same when one word in twenty differs") {
  std::string hundred, changed, more, other;
  for (int i = 0; i < 100; ++i) {
    hundred += "word" + std::to_string(i) + " ";
    changed += (i % 20 == 7 ? "changed " : "word" + std::to_string(i) + " ");
    more += (i % 16 == 7 ? "changed " : "word" + std::to_string(i) + " ");
    other += "else" + std::to_string(i) + " ";
  }
  const auto same = [](std::string_view a, std::string_view b) { return similarity(sketch_of(a), sketch_of(b)); };
  CHECK_EQ(same(hundred, hundred), 1.0);
  CHECK_EQ(same("Hello  World", "hello world "), 1.0);
  CHECK(same(hundred, changed) >= 0.95);
  CHECK(same(hundred, more) < 0.95);
  CHECK(same(hundred, other) < 0.05);
  CHECK(same("seven", "eight") < 0.95);
  CHECK_EQ(same("", ""), 1.0);
  CHECK_EQ(same("", "a"), 0.0);
  CHECK(same("你好世界今天天气很好", "你好世界今天天气不好") > 0.5); // a script without blanks
}

TROUPE_TEST("long texts are compared by a sample of bounded size") {
  std::string one, nearly, half;
  for (int i = 0; i < 20'000; ++i) {
    const auto word = "w" + std::to_string(i * 7919 % 100'003) + " ";
    one += word;
    nearly += i % 500 == 0 ? "x " : word;
    half += i % 2 == 0 ? word : "y" + word;
  }
  const auto a = sketch_of(one), b = sketch_of(nearly), c = sketch_of(half);
  CHECK_EQ(a.least.size(), 256u);
  CHECK(similarity(a, b) >= 0.95);
  CHECK(similarity(a, c) < 0.7);
}
