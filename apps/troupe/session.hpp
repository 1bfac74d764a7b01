#pragma once
// What commands share: reading a configuration with its problems told, opening the journal, telling errors.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/store/journal.hpp"

namespace troupe::cli {

/// Reads a configuration; its problems go to standard error. Nullptr: it has some.
std::shared_ptr<const configuration> load_or_tell(const std::string& path);
/// The same with its warnings, for what checks a file or begins something by it; elsewhere they would only be in the way.
std::shared_ptr<const configuration> load_and_warn(const std::string& path);
/// For what only asks a journal: a configuration with problems elsewhere will do, and that it has some is told.
std::shared_ptr<const configuration> load_for_journal(const std::string& path);

/// Opens the configuration's journal. `create` false: one that is not there is no error of the user's, but `not_found`.
expected<std::shared_ptr<store::journal>> open_journal(const configuration& config, bool create);
/// The same for what is only looked at, also where nothing may be written. `not_found` where there is none.
expected<std::shared_ptr<store::journal>> open_journal_to_read(const configuration& config);
/// Likewise, and nothing is made beside it.
expected<std::shared_ptr<store::journal>> look_at_journal(const configuration& config);

/// Works on the journal that the configuration file names, which must be there; answers the exit status. What is wrong with either is told.
int on_journal(const std::string& config_path, const std::function<int(store::journal&)>& work);
/// The same for what only looks at it.
int on_journal_to_read(const std::string& config_path, const std::function<int(store::journal&)>& work);

/// Prints "troupe: …" to standard error, redacted and without control characters.
void tell_error(const std::string& text);
/// Each line of a text from outside after `prefix`, redacted, and without what could drive a terminal.
std::string lines_after(std::string_view prefix, const std::string& text);

/// The exit status of an error: 2 for what the user can mend, 4 for services, 1 for the rest.
int status_of(const error& problem);
/// Tells it and gives its exit status.
int tell(const error& problem);

/// In the background the terminal is another's: what is drawn there breaks what others write, and reading it would stop the process.
bool in_foreground(int descriptor);
/// Forgets what was typed on the terminal so far: it is no answer to a question that is only now asked.
void discard_typed();

/// Whether standard output or error is a terminal that wants colours (NO_COLOR, TERM=dumb).
bool wants_colour(int descriptor);
/// Nothing but lines can be shown: TERM=dumb, or no TERM.
bool is_dumb_terminal();
/// Columns of the terminal; 100 where there is none.
std::size_t terminal_width(int descriptor);
/// Its rows; 24 where there is none.
std::size_t terminal_height(int descriptor);

/// A path or word as a shell takes it, for hints that are copied.
std::string shell_word(const std::string& text);

} // namespace troupe::cli
