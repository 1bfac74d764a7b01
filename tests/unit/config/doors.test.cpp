#include "checks_support.hpp"

#include "troupe/config/resolver.hpp"

TROUPE_SUITE(config_doors)

using namespace troupe;
using namespace troupe::config;
using namespace troupe::config::checks;

TROUPE_TEST("doors beyond loopback are locked") {
  check({
      {"api without a token", {{"api", "{ listen: \"0.0.0.0:80\" }"}}, "/api/listen: beyond loopback the API needs token_env"},
      {"api with one", {{"api", "{ listen: \"0.0.0.0:80\", token_env: T }"}}, ""},
      {"api on loopback", {{"api", "{ listen: \"[::1]:80\" }"}}, ""},
      {"a name that begins like loopback", {{"api", "{ listen: \"127.evil.example:80\" }"}}, "/api/listen: beyond loopback"},
      {"no port", {{"api", "{ listen: localhost }"}}, "/api/listen: \"localhost\" is no address"},
      {"node without tls", {{"node", "{ listen: \"10.0.0.1:80\" }"}}, "/node/listen: beyond loopback a node needs tls"},
      {"peer", {{"node", "{ join: [ nowhere ] }"}}, "/node/join/0: \"nowhere\" is no address"},
      {"postgres without an address", {{"journal", "{ kind: postgres }"}}, "/journal: the key \"url_env\" is missing"},
      {"path of postgres",
       {{"journal", "{ kind: postgres, url_env: U, path: x }"}},
       "/journal/path: the key \"path\" does not go with kind: postgres"},
      {"redis without an address", {{"queue", "{ kind: redis }"}}, "/queue: the key \"url_env\" is missing"},
      {"webhook without an address", {{"checkpoint", "{ notify: [ { kind: webhook } ] }"}}, "/checkpoint/notify/0: exactly one of url_env"},
      {"rise of success",
       {{"alerts", "[ { metric: success_rate, rise: 1 } ]"}},
       "/alerts/0/rise: the key \"rise\" does not go with metric: success_rate"},
      {"decision", {{"checkpoint", "{ policy: { high: maybe } }"}}, "/checkpoint/policy/high: \"maybe\" is not one of \"auto\", \"ask\""},
      {"script",
       {{"providers", "{ rehearsal: { kind: scripted, script: missing.yaml } }"}},
       "/providers/rehearsal/script: no readable file \"missing.yaml\"; it is looked for at \"/c/missing.yaml\""},
      {"a home folder", {{"journal", "{ path: ~/runs.db }"}}, "/journal/path: no shell reads this path"},
      {"the folder that is named ~", {{"journal", "{ path: ./~/runs.db }"}}, ""},
      {"a home folder for a script",
       {{"providers", "{ rehearsal: { kind: scripted, script: ~/s.yaml } }"}},
       "/providers/rehearsal/script: no shell reads this path"},
      {"no script", {{"providers", "{ rehearsal: { kind: scripted } }"}}, "/providers/rehearsal: the key \"script\" is missing"},
      {"key of a scripted one",
       {{"providers", "{ rehearsal: { kind: scripted, script: s, api_key_env: K } }"}},
       "/providers/rehearsal/api_key_env: the key \"api_key_env\" does not go with kind: scripted"},
      {"header",
       {{"providers", "{ rehearsal: { kind: scripted, script: s.yaml }, p: { kind: openai, headers: { A: \"x\\ny\" } } }"}},
       "/providers/p/headers/A: a header cannot hold a line break"},
  });
}

TROUPE_TEST("an address is loopback, or not, or none") {
  const std::vector<std::pair<const char*, int>> rows{{"127.0.0.1:80", 1},
                                                      {"localhost:80", 1},
                                                      {"[::1]:80", 1},
                                                      {"127.9.9.9:1", 1},
                                                      {"0.0.0.0:80", 0},
                                                      {"[::]:80", 0},
                                                      {"example.com:80", 0},
                                                      {"127.0.0.1", -1},
                                                      {":80", -1},
                                                      {"a:99999", -1},
                                                      {"a:", -1},
                                                      {"a:-1", -1},
                                                      {"::1:80", -1},
                                                      {"[]:80", -1},
                                                      {"", -1},
                                                      {"a b:80", -1},
                                                      {"localhost.evil.example:80", 0}};
  for (const auto& [text, wanted] : rows) {
    IN_ROW(text);
    const auto is = is_loopback(text);
    CHECK_EQ(is ? static_cast<int>(*is) : -1, wanted);
  }
}
