#pragma once
// A configuration file -> the validated model (INTERFACES 1), or every problem at once.
//
// Steps: read (YAML or JSON, with places), include, check against config/troupe.schema.json, substitute `${ENV_NAME}`, resolve into
// `configuration` (names, paths, money, durations, defaults), check what crosses sections (names, cycles, prices, trees).

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/config/problem.hpp"
#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"

namespace troupe::config {

/// The value of an environment variable; nullopt: it is not set.
using environment = std::function<std::optional<std::string>(const std::string& name)>;
environment process_environment();

/// How files are reached: the real ones, or some in memory for tests and fuzzing.
struct file_access {
  /// The content, at most `most_bytes + 1` of it; errors say why not (absent, a folder, not permitted).
  std::function<expected<std::string>(const std::string& path, std::size_t most_bytes)> read;
  /// A readable regular file stands there.
  std::function<bool(const std::string& path)> readable;
};
file_access real_files();

/// What is left of an open file, a pipe or a terminal, at most `most_bytes + 1` of it; waits for it. `unavailable` says why not.
expected<std::string> read_to_end(int descriptor, const std::string& name, std::size_t most_bytes);

struct load_result {
  std::optional<configuration> value; ///< present exactly when there is no problem
  std::vector<problem> problems;      ///< at most 100, in order of file, line, column
  std::vector<problem> warnings;      ///< told, but no reason to refuse
  /// Where there are problems, but none that could hide which journal is meant: `file`, `folder` and `journal`, and nothing else. What is
  /// wrong elsewhere in a file must not keep anybody from seeing, stopping or going on with its runs.
  std::optional<configuration> journal_only;

  bool ok() const { return value.has_value(); }
  /// One problem a line; for people. Empty when there is none.
  std::string text() const;
};

/// Reads and checks a file and what it includes. `path` stands in messages as given. Blocking (file I/O), any thread, never throws.
/// A file that cannot be read is a problem like any other.
load_result load(const std::string& path, const environment& variables = process_environment(), const file_access& files = real_files());

/// The configuration of a stored document (`configuration::source`), so that a run goes on with the one that it started with: `file` is
/// what `configuration::file` was. Environment variables are read anew (secrets are not stored); files are not looked at.
/// `invalid_argument` with all problems, one a line.
expected<configuration> resolve(const json& source, const std::string& file, const environment& variables = process_environment());

/// The text of config/troupe.schema.json, built into the program.
std::string_view schema_text();

} // namespace troupe::config
