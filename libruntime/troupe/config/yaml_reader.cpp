#include "troupe/config/yaml_reader.hpp"

#include <algorithm>
#include <exception>
#include <optional>

#include "troupe/config/readers.hpp"
#include "troupe/config/text_cursor.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::config {

namespace {

struct bad_byte {
  std::size_t offset;
  std::string message;
};

/// The first sequence that is no UTF-8, within a line that holds one.
std::size_t first_invalid(std::string_view line) {
  std::size_t i = 0;
  while (i < line.size()) {
    std::size_t length = 1;
    while (length <= 4 && i + length <= line.size() && !is_valid_utf8(line.substr(i, length)))
      ++length;
    if (length > 4 || i + length > line.size())
      return i;
    i += length;
  }
  return i;
}

/// Only what YAML calls printable, and JSON does not forbid: the parser takes U+0004 for the end of the text, terminals take others
/// for commands.
std::optional<bad_byte> find_bad_byte(std::string_view text) {
  if (!is_valid_utf8(text)) {
    std::size_t start = 0;
    while (start < text.size()) {
      const auto end = std::min(text.find('\n', start), text.size());
      const auto line = text.substr(start, end - start);
      if (!is_valid_utf8(line))
        return bad_byte{start + first_invalid(line), "this byte is not UTF-8; save the file as UTF-8"};
      start = end + 1;
    }
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == '\r' && (i + 1 == text.size() || text[i + 1] != '\n'))
      return bad_byte{i, "a carriage return without a line feed; end lines with a line feed"};
    if (byte == 0)
      return bad_byte{i, "a NUL byte; is this a text file?"};
    const bool control = (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7F;
    const bool second_control = byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0
                                && static_cast<unsigned char>(text[i + 1]) != 0x85;
    if (control || second_control)
      return bad_byte{i, "a control character; write it as an escape in double quotes, as in \"\\x1b\""};
  }
  return std::nullopt;
}

bool looks_like_json(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && (text[first] == '{' || text[first] == '[');
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

} // namespace

text_format format_of(std::string_view file_name) {
  return file_name.size() > 5 && file_name.substr(file_name.size() - 5) == ".json" ? text_format::as_json : text_format::automatic;
}

located_document read_text(std::string_view text, const std::string& name, problem_list& problems, text_format format,
                           const read_limits& limits) {
  std::optional<tree_builder> builder;
  const auto nothing = [&] {
    located_document empty;
    empty.files = {name};
    if (builder)
      empty.size = builder->size();
    return empty;
  };
  if (text.size() > limits.bytes) {
    problems.add({name, 0, 0, "", "larger than " + std::to_string(limits.bytes >> 20) + " MiB; split it with include"});
    return nothing();
  }
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  if (text.substr(0, 3) == byte_order_mark)
    text.remove_prefix(3);
  if (const auto bad = find_bad_byte(text)) {
    // Up to the bad byte the text is well-formed, which is what the cursor needs.
    const auto at = text_cursor(text.substr(0, bad->offset)).at(bad->offset);
    problems.add({name, at.line, at.column, "", bad->message});
    return nothing();
  }
  if (is_blank(text))
    return nothing();
  try {
    if (format == text_format::as_json || (format == text_format::automatic && looks_like_json(text))) {
      problem_list found;
      builder.emplace(name, found, limits);
      bool is_json = true;
      bool stopped = false;
      try {
        is_json = read_json(text, *builder, format == text_format::as_json);
      } catch (const reading_stopped&) {
        stopped = true;
      }
      if (is_json) {
        for (auto& each : found.sorted())
          problems.add(std::move(each));
        return stopped ? nothing() : builder->take();
      }
    }
    builder.emplace(name, problems, limits);
    read_yaml(text, *builder);
    return builder->take();
  } catch (const reading_stopped&) {
  } catch (const std::exception& unexpected) {
    problems.add({name, 0, 0, "", std::string("the parser gave up: ") + unexpected.what()});
  }
  return nothing();
}

} // namespace troupe::config
