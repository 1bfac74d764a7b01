// Runs the official JSON Schema Test Suite (draft 2020-12) against our validator.
//
//   schema_suite SUITE            SUITE holds tests/draft2020-12 and remotes
//
// Prints one row a file, then what failed: each case, but one line for a refused group, and none for `format`, which is an
// annotation here (as the specification has it by default). Exit status 1 when a required case fails that is not excluded below.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "troupe/schema/schema.hpp"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using troupe::schema::compiled_schema;

/// Required cases that we do not pass, each with its reason: "file: group". None today.
const std::map<std::string, std::string> excluded = {};

struct tally {
  int passed = 0;
  int total = 0;
};

json read(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return json::parse(text.str());
}

std::vector<troupe::schema::document> remotes(const fs::path& folder) {
  std::vector<troupe::schema::document> out;
  if (!fs::exists(folder))
    return out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || entry.path().extension() != ".json")
      continue;
    out.push_back({"http://localhost:1234/" + fs::relative(entry.path(), folder).generic_string(), read(entry.path())});
  }
  return out;
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().extension() == ".json")
      out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 2 || !fs::exists(fs::path(argv[1]) / "tests/draft2020-12")) {
    std::cerr << "usage: schema_suite SUITE, a folder with tests/draft2020-12 and remotes\n";
    return 2;
  }
  const fs::path suite = argv[1];
  const auto tests = suite / "tests/draft2020-12";
  const auto documents = remotes(suite / "remotes");
  tally required;
  tally optional;
  tally format;
  int unexpected = 0;
  std::vector<std::string> failed;
  for (const auto& file : files_of(tests)) {
    const auto name = fs::relative(file, tests).generic_string();
    const bool is_optional = name.find('/') != std::string::npos; // optional/ and, in newer suites, should/
    const bool is_format = name.find("optional/format") == 0;
    tally here;
    for (const auto& group : read(file)) {
      const auto title = name + ": " + group["description"].get<std::string>();
      const auto compiled = compiled_schema::compile(group["schema"], documents);
      for (const auto& test : group["tests"]) {
        ++here.total;
        const bool expected = test["valid"].get<bool>();
        const bool right = compiled && compiled->is_valid(test["data"]) == expected && compiled->validate(test["data"]).empty() == expected;
        here.passed += right ? 1 : 0;
        if (right)
          continue;
        const auto known = excluded.find(title);
        if (!is_optional && known == excluded.end())
          ++unexpected;
        const auto reason = known == excluded.end() ? std::string{} : " [excluded: " + known->second + "]";
        auto line = compiled ? title + ": " + test["description"].get<std::string>() + (expected ? " (is valid)" : " (is invalid)") + reason
                             : title + " (refused: " + compiled.error().text() + ")" + reason;
        if (!is_format && (failed.empty() || failed.back() != line))
          failed.push_back(std::move(line));
      }
    }
    std::cout << name << std::string(name.size() < 44 ? 44 - name.size() : 1, ' ') << here.passed << '/' << here.total << '\n';
    auto& sum = is_format ? format : is_optional ? optional : required;
    sum.passed += here.passed;
    sum.total += here.total;
  }
  std::cout << "\nrequired " << required.passed << '/' << required.total << ", optional " << optional.passed << '/' << optional.total
            << ", format " << format.passed << '/' << format.total << '\n';
  for (const auto& line : failed)
    std::cout << "  " << line << '\n';
  return unexpected == 0 ? 0 : 1;
}
