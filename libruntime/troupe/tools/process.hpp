#pragma once
// Process tools (SEMANTICS 4): a program started for each call, in a bubblewrap sandbox, with limits, and nobody left after it.
//
//   start ──▶ running ──main program exits──────────▶ ending ──nobody left──▶ done(ok | failed)
//                │ ──timeout──▶ SIGTERM to all ──grace──▶ SIGKILL to all ──▶ done(timed_out)
//                │ ──cancel───▶        the same                         ──▶ done(cancelled)
//                └ ──too many processes──▶ SIGKILL to all               ──▶ done(failed)
//
// The arguments are templates, one element of the program's argv each, whatever they contain; there is no shell. The program sees
// PATH, LANG, HOME, TMPDIR, TROUPE_IDEMPOTENCY_KEY and what `env_from` names; no descriptor but 0, 1, 2.

#include <memory>
#include <string>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/tools/environment.hpp"
#include "troupe/tools/process_call.hpp"
#include "troupe/tools/runner.hpp"

namespace troupe::tools {

/// Where the program that a command names may be, first come first: along the PATH that tools have; below `folder` where it has a slash.
std::vector<std::string> program_places(const std::string& name, const std::string& folder);

/// A runner for a tool of kind `process`. `invalid_argument` or `not_found` when the tool can never run: no command, a secret of `env_from`
/// that is not set, a path of `sandbox.read` or `sandbox.write` that is no absolute path. A missing bubblewrap is told by
/// each call (`not_started`), so that the other tools of an agent stay usable.
///
/// Outcomes: exit status in `success` is `ok`; another is `failed` with standard error in the text. A program ended by signal n has
/// exit_status 128 + n. Standard output is cut at `limits.output_bytes`, standard error at 64 KiB; both are mended to valid UTF-8.
/// `done` is called on the loop's thread and must not block there.
expected<std::unique_ptr<runner>> make_process_runner(const tool_spec& spec, environment& shared);

/// The job that starts a server which lives for long (`spec.command` as it stands, no templates): in the same sandbox, with the same
/// environment. `limits.cpu` is for one call and does not bind it; its memory is limited by a control group only, since runtimes of servers
/// reserve more addresses than they use. Errors as above.
expected<process_job> make_server_job(const tool_spec& spec, environment& shared);

} // namespace troupe::tools
