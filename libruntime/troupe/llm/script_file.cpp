#include "troupe/llm/script_file.hpp"

#include "troupe/config/load.hpp"
#include "troupe/config/yaml_reader.hpp"

namespace troupe::llm {

namespace {

std::string lines_of(const config::problem_list& problems) {
  std::string all;
  for (const auto& problem : problems.sorted())
    all += (all.empty() ? "" : "\n") + problem.text();
  return all;
}

} // namespace

expected<script_ptr> load_script_file(const std::string& path) {
  const config::read_limits bounds;
  auto text = config::real_files().read(path, bounds.bytes);
  if (!text)
    return fail(error_code::invalid_argument, "the script cannot be read: " + text.error().message, path);
  config::problem_list problems;
  const auto document = config::read_text(*text, path, problems, config::format_of(path), bounds);
  if (!problems.empty())
    return fail(error_code::invalid_argument, lines_of(problems));
  auto script = parse_script(document.value);
  if (script)
    return *script;
  for (const auto& wrong : script.error()) {
    const auto at = document.position_of(wrong.where);
    problems.add({path, at.line, at.column, wrong.where, wrong.message});
  }
  return fail(error_code::invalid_argument, lines_of(problems));
}

} // namespace troupe::llm
