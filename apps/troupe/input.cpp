#include "input.hpp"

#include <algorithm>
#include <optional>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "troupe/config/load.hpp"
#include "troupe/config/yaml_reader.hpp"
#include "troupe/schema/schema.hpp"
#include "troupe/util/parse_json.hpp"
#include "troupe/util/suggest.hpp"
#include "troupe/util/unique_fd.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::cli {

namespace {

constexpr std::size_t max_input_bytes = 16u << 20;

bool is_pipe(const std::string& file) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 && S_ISFIFO(status.st_mode);
}

/// A file is read as a configuration is: no folder, no device. A pipe is waited for: `--input <(command)` is one.
expected<std::string> text_of(const std::string& file) {
  if (file == "-")
    return config::read_to_end(STDIN_FILENO, "standard input", max_input_bytes);
  if (!is_pipe(file))
    return config::real_files().read(file, max_input_bytes);
  const unique_fd pipe(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!pipe)
    return fail(error_code::permission_denied, "this pipe cannot be opened; check who may read it", file);
  return config::read_to_end(pipe.get(), file, max_input_bytes);
}

std::string words_of(const config::problem_list& problems) {
  std::string all;
  for (const auto& problem : problems.sorted())
    all += (all.empty() ? "" : "\n") + problem.text();
  return all;
}

/// An account's number is not to become another one.
expected<void> all_exact(std::string_view json_text, const std::string& name) {
  if (const auto number = inexact_integer(json_text))
    return fail(error_code::invalid_argument,
                std::string(number->substr(0, 100)) + " has more digits than can be kept; write it in quotes, as a text", name);
  return {};
}

expected<json> read_document_file(const std::string& file) {
  const auto name = file == "-" ? "standard input" : file;
  const auto text = text_of(file);
  if (!text) // whatever it is, another --input mends it
    return fail(error_code::invalid_argument, text.error().message, "the input " + text.error().where);
  if (text->size() > max_input_bytes)
    return fail(error_code::invalid_argument, "the input is larger than 16 MiB", name);
  config::problem_list problems;
  config::read_limits bounds;
  bounds.bytes = max_input_bytes;
  auto document = config::read_text(*text, name, problems, config::format_of(file), bounds);
  if (!problems.empty())
    return fail(error_code::invalid_argument, words_of(problems));
  if (!document.value.is_object())
    return fail(error_code::invalid_argument, "the input must be a mapping (an object), as in { topic: … }", name);
  auto as_json = parse_bounded(*text);
  if (!as_json)
    return std::move(document.value); // of YAML, in which a large number is a real one
  auto exact = all_exact(*text, name);
  return exact ? std::move(*as_json) : expected<json>(tl::unexpected(exact.error()));
}

/// Asks the input's schema what it says of one member.
class judge {
public:
  explicit judge(const json& schema) {
    if (!schema.is_null())
      if (auto compiled = schema::compiled_schema::compile(schema))
        schema_ = std::move(*compiled);
  }

  bool takes(const json& input) const { return !schema_ || schema_->is_valid(input); }

  /// What the schema minds: everything, and whether the member is of a type that it cannot have.
  struct opinion {
    std::size_t violations = 0;
    bool wrong_type = false;
  };
  opinion of(const json& input, const std::string& key) const {
    opinion out;
    if (!schema_)
      return out;
    const auto pointer = config::child_of("", key);
    for (const auto& broken : schema_->validate(input, violations_max)) {
      ++out.violations;
      out.wrong_type = out.wrong_type || (broken.pointer == pointer && broken.rule == "type");
    }
    return out;
  }

private:
  static constexpr std::size_t violations_max = 1'000;
  std::optional<schema::compiled_schema> schema_;
};

/// Puts the JSON that a text means in its place, where the schema minds the text and minds that less.
expected<void> mend(const judge& schema, json& input, const std::string& key) {
  const auto text = input[key].get<std::string>();
  const auto as_text = schema.of(input, key);
  auto meant = parse_bounded(text);
  if (!meant) {
    if (as_text.wrong_type)
      return fail(error_code::invalid_argument,
                  "-i " + key + ": the input's schema wants something else than a string, and " + in_quotes(text) + " is not JSON");
    return {};
  }
  std::swap(input[key], *meant);
  const auto as_json = schema.of(input, key);
  if (as_json.violations < as_text.violations || (as_text.wrong_type && !as_json.wrong_type)) {
    auto strict = read_json_argument(text, "-i " + key);
    return strict ? expected<void>{} : tl::unexpected(strict.error());
  }
  std::swap(input[key], *meant);
  return {};
}

/// What the schema minds only of several together (an anyOf over keys): all of them as JSON, where it takes that.
json mended_together(const judge& schema, const json& input, const std::vector<std::string>& keys) {
  auto all = input;
  for (const auto& key : keys)
    if (all[key].is_string())
      if (auto meant = read_json_argument(all[key].get<std::string>(), "-i " + key))
        all[key] = std::move(*meant);
  return schema.takes(all) ? all : input;
}

} // namespace

expected<json> read_json_argument(const std::string& text, const std::string& name) {
  auto value = parse_bounded(text);
  if (!value)
    return fail(error_code::invalid_argument, "this is not JSON: " + value.error().message, name);
  if (auto exact = all_exact(text, name); !exact)
    return tl::unexpected(exact.error());
  config::problem_list problems;
  config::read_text(text, name, problems, config::text_format::as_json);
  if (!problems.empty())
    return fail(error_code::invalid_argument, words_of(problems));
  return value;
}

expected<json> read_input(const std::string& file, const std::vector<std::string>& pairs, const json& schema) {
  json input = json::object();
  if (!file.empty()) {
    auto read = read_document_file(file);
    if (!read)
      return read;
    input = std::move(*read);
  }
  std::vector<std::string> keys;
  for (const auto& pair : pairs) {
    const auto equals = pair.find('=');
    if (equals == std::string::npos || equals == 0)
      return fail(error_code::invalid_argument, "-i takes key=value; " + in_quotes(pair) + " has no key and \"=\"");
    auto key = pair.substr(0, equals);
    auto value = pair.substr(equals + 1);
    if (!is_valid_utf8(pair))
      return fail(error_code::invalid_argument, "-i " + in_quotes(mended_utf8(key)) + ": this is not UTF-8; write it in UTF-8");
    input[key] = std::move(value);
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      keys.push_back(std::move(key));
  }
  // All as texts first: one that may be a text stays one.
  const judge of(schema);
  if (keys.empty() || of.takes(input))
    return input;
  for (const auto& key : keys)
    if (auto mended = mend(of, input, key); !mended)
      return tl::unexpected(mended.error());
  return of.takes(input) ? input : mended_together(of, input, keys);
}

} // namespace troupe::cli
