// The builtin `read_file`.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/stat.h>
#include <unistd.h>

#include "troupe/tools/builtin_parts.hpp"
#include "troupe/tools/confined.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::tools {

namespace {

tool_declaration declare_read_file() {
  return {"read_file",
          "The text of a file, or some of its lines. At most 1 MiB at once; what is longer is read in parts with offset and limit.",
          {{"type", "object"},
           {"required", {"path"}},
           {"properties",
            {{"path", {{"type", "string"}, {"minLength", 1}, {"description", "relative to the tool's folder"}}},
             {"offset", {{"type", "integer"}, {"minimum", 1}, {"description", "the first line to read, counted from 1"}}},
             {"limit", {{"type", "integer"}, {"minimum", 1}, {"description", "how many lines to read"}}}}},
           {"additionalProperties", false}},
          effect::none,
          risk::low};
}

/// What was read of a file: whole lines, as long as they fit.
struct excerpt {
  std::string text;
  std::int64_t first_line = 1;
  std::int64_t lines = 0; ///< line ends in `text`
  bool more = false;      ///< the file goes on, and the caller did not ask to stop here
};

/// Reads lines [offset, offset + limit) of `fd`. Memory is bounded by the text's limit, whatever the file's size.
bool read_lines(int fd, std::int64_t offset, std::int64_t limit, const call_token& token, excerpt& into) {
  std::string buffer(std::size_t{128} << 10, '\0');
  std::int64_t to_skip = offset - 1;
  into.first_line = offset;
  for (ssize_t got = 0; (got = ::read(fd, buffer.data(), buffer.size())) != 0;) {
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return false;
    if (token.should_end())
      return true;
    std::string_view piece(buffer.data(), static_cast<std::size_t>(got));
    while (to_skip > 0 && !piece.empty()) {
      const auto end = piece.find('\n');
      piece.remove_prefix(end == std::string_view::npos ? piece.size() : end + 1);
      to_skip -= end == std::string_view::npos ? 0 : 1;
    }
    while (!piece.empty()) {
      if (into.lines == limit)
        return true;
      const auto end = piece.find('\n');
      const auto line = piece.substr(0, end == std::string_view::npos ? end : end + 1);
      const auto room = builtin_text_bytes_max - into.text.size();
      into.text.append(line.substr(0, room));
      if (line.size() > room) {
        into.more = true;
        return true;
      }
      into.lines += end == std::string_view::npos ? 0 : 1;
      piece.remove_prefix(line.size());
    }
  }
  return true;
}

tool_outcome read_file(const tool_spec& spec, const std::vector<std::string>& hidden, const json& arguments, const call_token& token) {
  const auto path = relative_path(spec.root, text_argument(arguments, "path"));
  if (!path)
    return builtin_failure(spec.name, path.error());
  const auto folder = confined_folder::open(spec.root, hidden);
  if (!folder)
    return builtin_failure(spec.name, folder.error());
  struct stat info {};
  const auto fd = folder->open_file(*path, info);
  if (!fd)
    return builtin_failure(spec.name, fd.error());
  excerpt found;
  if (!read_lines(fd->get(), integer_argument(arguments, "offset", 1), integer_argument(arguments, "limit", INT64_MAX), token, found))
    return builtin_failure(spec.name, error{code_of_errno(errno), "\"" + *path + "\" cannot be read: " + std::strerror(errno), {}});
  if (found.text.find('\0') != std::string::npos)
    return builtin_failure(spec.name,
                           "\"" + *path + "\" is binary (" + std::to_string(info.st_size) + " bytes), and read_file reads text only");
  tool_outcome out;
  out.truncated = found.more;
  if (found.more) {
    // Whole lines only, so that reading on is simple; a line that alone is too long is cut in its middle.
    const auto last = found.text.rfind('\n');
    if (last != std::string::npos)
      found.text.resize(last + 1);
    else
      found.text.resize(utf8_prefix(found.text, found.text.size() - 4).size());
  }
  found.text = found.more ? redacted_at(std::move(found.text), redactor::cut::end) : redacted(std::move(found.text));
  mend_utf8(found.text);
  if (found.text.size() > builtin_text_bytes_max)
    found.text.resize(utf8_prefix(found.text, builtin_text_bytes_max).size());
  if (found.more) {
    found.text += "\n[cut: the file has " + std::to_string(info.st_size) + " bytes; ";
    found.text += found.lines > 0 ? "read on with offset " + std::to_string(found.first_line + found.lines) + "]"
                                  : "line " + std::to_string(found.first_line) + " alone is longer than 1 MiB]";
  }
  out.output = std::move(found.text);
  return out;
}

expected<std::unique_ptr<runner>> make_read_file(const tool_spec& spec, environment& shared) {
  if (spec.root.empty() || spec.root.front() != '/')
    return fail(error_code::invalid_argument, "read_file needs `root`: the folder whose files it may read");
  return worker_runner(shared.workers, spec.name, [spec, hidden = shared.hidden](const json& arguments, const call_token& token) {
    return read_file(spec, hidden, arguments, token);
  });
}

} // namespace

const builtin_row read_file_row{"read_file", &declare_read_file, &make_read_file};

} // namespace troupe::tools
