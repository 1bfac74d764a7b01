#include "troupe/config/load.hpp"

#include <algorithm>
#include <exception>
#include <filesystem>

#include "troupe/config/include.hpp"
#include "troupe/config/resolver.hpp"
#include "troupe/config/schema_check.hpp"
#include "troupe/config/substitute.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

/// Everything after reading: on what a file or the journal holds alike.
void examine(const json& source, const environment& variables, reading& in, configuration& into) {
  check_schema(source, in.issues);
  auto substituted = source;
  substitute_environment(substituted, variables, in);
  resolver(substituted, in, into).run();
}

problem placed(const issue& found, const located_document& document) {
  const auto place = document.find(found.pointer);
  const auto& at = *place.at;
  // What is missing has no place of its own; the key of what it is missing in is the nearest thing that people see.
  const bool key = (found.at_key || !place.exact) && at.key.line > 0;
  const auto& where = key ? at.key : at.value;
  return {document.files[at.file], where.line, where.column, found.pointer, found.message};
}

/// Whether the problems leave no doubt where the journal is. A key that is none may be the misspelt section itself, and a list that is full
/// may lack the one problem that counts.
bool tells_journal(const json& document, const issue_list& issues) {
  return !issues.errors_full() && std::all_of(issues.errors().begin(), issues.errors().end(), [&](const issue& each) {
    const auto section = each.pointer.substr(0, each.pointer.find('/', 1));
    if (section == "/journal")
      return false;
    return section != each.pointer || section.empty() || document.contains("journal")
           || nearest_name(section.substr(1), {"journal"}).empty();
  });
}

std::string folder_of(const std::string& file) {
  std::error_code ignored;
  auto path = std::filesystem::absolute(file, ignored);
  if (ignored)
    path = file;
  return path.lexically_normal().parent_path().string();
}

load_result load_unguarded(const std::string& path, const environment& variables, const file_access& files) {
  load_result out;
  problem_list errors;
  auto document = read_with_includes(path, files, errors);
  if (document.value.is_null()) {
    if (errors.empty())
      errors.add({path, 0, 0, "", "the file is empty; a configuration has agents, models, providers and workflows"});
    out.problems = errors.sorted();
    return out;
  }
  if (!document.value.is_object()) {
    errors.add({path, document.root.value.line, document.root.value.column, "",
                "a configuration is a mapping of sections: agents, models, providers, workflows"});
    out.problems = errors.sorted();
    return out;
  }
  reading in;
  in.folder = folder_of(path);
  in.is_readable = files.readable;
  for (const auto& each : errors.sorted())
    in.issues.told_before(each.pointer);
  configuration made;
  made.folder = in.folder;
  made.file = (std::filesystem::path(in.folder) / std::filesystem::path(path).filename()).string();
  examine(document.value, variables, in, made);
  if (errors.empty() && !in.issues.errors().empty() && tells_journal(document.value, in.issues)) {
    auto& place = out.journal_only.emplace();
    place.file = made.file;
    place.folder = made.folder;
    place.journal = made.journal;
  }
  for (const auto& each : in.issues.errors())
    errors.add(placed(each, document));
  problem_list warnings;
  for (const auto& each : in.issues.warnings())
    warnings.add(placed(each, document));
  out.problems = errors.sorted();
  out.warnings = warnings.sorted();
  if (out.problems.empty()) {
    made.source = std::move(document.value);
    out.value = std::move(made);
  }
  return out;
}

} // namespace

std::string load_result::text() const {
  std::string out;
  for (const auto& each : problems)
    out += each.text() + "\n";
  return out;
}

load_result load(const std::string& path, const environment& variables, const file_access& files) {
  try {
    return load_unguarded(path, variables, files);
  } catch (const std::exception& unexpected) {
    load_result out;
    out.problems.push_back({path, 0, 0, "", std::string("cannot be read: ") + unexpected.what()});
    return out;
  }
}

expected<configuration> resolve(const json& source, const std::string& file, const environment& variables) {
  try {
    reading in;
    in.folder = folder_of(file);
    configuration made;
    made.file = file;
    made.folder = in.folder;
    examine(source, variables, in, made);
    if (!in.issues.errors().empty()) {
      std::string text;
      for (const auto& each : in.issues.errors())
        text += (text.empty() ? "" : "\n") + problem{file, 0, 0, each.pointer, each.message}.text();
      return fail(error_code::invalid_argument, std::move(text));
    }
    made.source = source;
    return made;
  } catch (const std::exception& unexpected) {
    return fail(error_code::invalid_argument, unexpected.what(), file);
  }
}

} // namespace troupe::config
