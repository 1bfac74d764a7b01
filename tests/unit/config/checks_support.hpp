#pragma once
// What tests of a configuration's checks share: a good file, of which a row replaces sections, and what is said of it then.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "troupe/config/load.hpp"

#include "test.hpp"

namespace troupe::config::checks {

/// One section a line, so that a row replaces just what it is about.
using sections = std::map<std::string, std::string>;

inline const sections good{
    {"providers", "{ rehearsal: { kind: scripted, script: s.yaml }, openai: { kind: openai } }"},
    {"models", "{ fast: { chain: [ { provider: rehearsal } ] } }"},
    {"tools", "{ grep: { kind: process, description: d, command: [grep], effect: none }, save: { kind: builtin, builtin: write_file } }"},
    {"agents", "{ writer: { model: fast, tools: [grep] }, editor: { model: fast }, saver: { model: fast, tools: [save] } }"},
    {"workflows", "{ report: { tasks: [ { id: a, agent: writer, instruction: Go. } ] } }"},
};

inline load_result loaded(const sections& changed) {
  auto all = good;
  for (const auto& [name, text] : changed)
    all[name] = text;
  std::string text;
  for (const auto& [name, value] : all)
    text += name + ": " + value + "\n";
  const file_access files{[&](const std::string&, std::size_t) -> expected<std::string> { return text; },
                          [](const std::string& path) { return path.find("missing") == std::string::npos; }};
  return load(
      "/c/f.yaml", [](const std::string&) { return std::nullopt; }, files);
}

/// The section `workflows` with these tasks.
inline std::string workflow(const std::string& tasks, const std::string& more = "") {
  return "{ report: { " + more + "tasks: [ " + tasks + " ] } }";
}

struct row {
  const char* rule;
  sections changed;
  const char* wanted; ///< "/pointer: words", the begin of one of the problems; "": there is none
};

inline void check(const std::vector<row>& rows) {
  for (const auto& each : rows) {
    IN_ROW(each.rule);
    const auto result = loaded(each.changed);
    const auto text = result.text();
    if (*each.wanted == '\0') {
      CHECK_EQ(text, "");
      continue;
    }
    CHECK(!result.ok());
    const bool found = text.find(std::string(": ") + each.wanted) != std::string::npos;
    if (!found)
      CHECK_EQ(text, each.wanted);
    CHECK(found);
    // One mistake, one problem: nothing is refused for a consequence.
    if (result.problems.size() != 1)
      CHECK_EQ(text, each.wanted);
    CHECK_EQ(result.problems.size(), 1u);
  }
}

} // namespace troupe::config::checks
