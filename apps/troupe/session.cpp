#include "session.hpp"

#include <cstdio>
#include <cstdlib>
#include <set>
#include <string_view>

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "command.hpp"
#include "timeline.hpp"
#include "troupe/config/load.hpp"
#include "troupe/llm/script_file.hpp"
#include "troupe/store/sqlite.hpp"
#include "troupe/util/redact.hpp"

namespace troupe::cli {

namespace {

void print_lines(std::string_view prefix, const std::string& text) {
  std::fputs(lines_after(prefix, text).c_str(), stderr);
}

} // namespace

std::string lines_after(std::string_view prefix, const std::string& text) {
  const auto clean = redacted(text);
  std::string out;
  std::string_view rest = clean;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    out.append(prefix).append(printable(rest.substr(0, end), 4'000)) += '\n';
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  }
  return out;
}

namespace {

std::shared_ptr<const configuration> read_configuration(const std::string& path, bool warns) {
  auto loaded = config::load(path);
  for (const auto& problem : loaded.problems)
    print_lines("", problem.text());
  if (warns)
    for (const auto& warning : loaded.warnings)
      print_lines("warning: ", warning.text());
  if (!loaded.value)
    return nullptr;
  // A rehearsal's script is part of what is checked.
  std::set<std::string> scripts;
  bool good = true;
  for (const auto& [name, provider] : loaded.value->providers)
    if (provider.kind == provider_kind::scripted && scripts.insert(provider.script).second)
      if (const auto script = llm::load_script_file(provider.script); !script) {
        print_lines("", script.error().text());
        good = false;
      }
  if (!good)
    return nullptr;
  return std::make_shared<const configuration>(std::move(*loaded.value));
}

} // namespace

std::shared_ptr<const configuration> load_or_tell(const std::string& path) {
  return read_configuration(path, false);
}

std::shared_ptr<const configuration> load_for_journal(const std::string& path) {
  auto loaded = config::load(path);
  if (loaded.value)
    return std::make_shared<const configuration>(std::move(*loaded.value));
  if (loaded.journal_only) {
    const auto count = loaded.problems.size();
    print_lines("warning: ", path + " has " + (count == 1 ? "a problem" : "problems")
                                 + " outside of its journal section, which `troupe validate " + shell_word(path)
                                 + "` tells; its journal is used all the same");
    return std::make_shared<const configuration>(std::move(*loaded.journal_only));
  }
  for (const auto& problem : loaded.problems)
    print_lines("", problem.text());
  return nullptr;
}

std::shared_ptr<const configuration> load_and_warn(const std::string& path) {
  return read_configuration(path, true);
}

namespace {

using opener = expected<std::unique_ptr<store::journal>> (*)(const store::sqlite_options&);

expected<std::shared_ptr<store::journal>> open_by(opener open, const configuration& config, bool create) {
  if (config.journal.kind != "sqlite")
    return fail(error_code::unavailable,
                "journal kind \"" + config.journal.kind + "\" is not part of this build; use { kind: sqlite, path: .troupe/journal.db }",
                config.file);
  store::sqlite_options options;
  options.path = config.journal.path;
  options.create = create;
  auto opened = open(options);
  if (!opened)
    return tl::unexpected(opened.error());
  return std::shared_ptr<store::journal>(std::move(*opened));
}

} // namespace

expected<std::shared_ptr<store::journal>> open_journal(const configuration& config, bool create) {
  return open_by(store::open_sqlite, config, create);
}

expected<std::shared_ptr<store::journal>> open_journal_to_read(const configuration& config) {
  return open_by(store::open_sqlite_to_read, config, false);
}

expected<std::shared_ptr<store::journal>> look_at_journal(const configuration& config) {
  return open_by(store::look_at_sqlite, config, false);
}

namespace {

int work_on(const std::string& config_path, opener open, const std::function<int(store::journal&)>& work) {
  const auto config = load_for_journal(config_path);
  if (!config)
    return status_usage;
  const auto journal = open_by(open, *config, false);
  return journal ? work(**journal) : tell(journal.error());
}

} // namespace

int on_journal(const std::string& config_path, const std::function<int(store::journal&)>& work) {
  return work_on(config_path, store::open_sqlite, work);
}

int on_journal_to_read(const std::string& config_path, const std::function<int(store::journal&)>& work) {
  return work_on(config_path, store::open_sqlite_to_read, work);
}

void tell_error(const std::string& text) {
  print_lines("troupe: ", text);
}

int status_of(const error& problem) {
  switch (problem.code) {
  case error_code::invalid_argument:
  case error_code::not_found:
  case error_code::conflict:
    return status_usage;
  case error_code::unavailable:
  case error_code::permission_denied:
  case error_code::corrupt:
    return status_unavailable;
  default:
    return status_failed;
  }
}

int tell(const error& problem) {
  tell_error(problem.text());
  return status_of(problem);
}

bool in_foreground(int descriptor) {
  const auto front = ::tcgetpgrp(descriptor);
  return front == -1 || front == ::getpgrp(); // -1: a terminal that is not the session's own
}

void discard_typed() {
  if (in_foreground(STDIN_FILENO))
    ::tcflush(STDIN_FILENO, TCIFLUSH);
}

bool wants_colour(int descriptor) {
  if (::isatty(descriptor) == 0)
    return false;
  const char* no_colour = std::getenv("NO_COLOR");
  return (no_colour == nullptr || *no_colour == '\0') && !is_dumb_terminal();
}

bool is_dumb_terminal() {
  const char* terminal = std::getenv("TERM");
  return terminal == nullptr || *terminal == '\0' || std::string_view(terminal) == "dumb";
}

std::size_t terminal_width(int descriptor) {
  winsize size{};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return size.ws_col;
  return 100;
}

std::size_t terminal_height(int descriptor) {
  winsize size{};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_row > 0)
    return size.ws_row;
  return 24;
}

std::string shell_word(const std::string& text) {
  if (!text.empty()
      && text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+") == std::string::npos)
    return text;
  if (printable(text, text.size() * 12) != text) { // what a terminal would act upon, or hide
    std::string bytes = "$'";
    for (const unsigned char c : text) {
      char spelled[8];
      std::snprintf(spelled, sizeof spelled, "\\x%02x", c);
      bytes += c < 0x20 || c >= 0x7F || c == '\'' || c == '\\' ? spelled : std::string(1, static_cast<char>(c));
    }
    return bytes + "'";
  }
  std::string quoted_text = "'";
  for (const char c : text)
    quoted_text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted_text + "'";
}

} // namespace troupe::cli
