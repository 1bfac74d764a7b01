#pragma once
// HTTP tools (SEMANTICS 4, 11): a request made of templates over the call's arguments, to hosts that the file names.
//
// The url's own host and port are allowed, and what `allow_hosts` names for redirects. Each connection goes to an address that was checked:
// public ones, those that the file writes out, and private ones where it says `allow_private`. Secrets (`env_from`) stand in headers, as
// {{ env.NAME }}, and stay behind when a redirect leads to another origin. Every repeat of a call carries the same Idempotency-Key.

#include <memory>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/policy/request_template.hpp"
#include "troupe/tools/environment.hpp"
#include "troupe/tools/runner.hpp"
#include "troupe/tools/web_call.hpp"

namespace troupe::tools {

policy::request_source request_source_of(const tool_spec& spec);

/// The url's own host and what `allow_hosts` has.
expected<std::vector<allowed_host>> allowed_hosts_of(const tool_spec& spec, const policy::request_template& request);

/// The values of `env_from`; `not_found` names one that is not set.
expected<std::map<std::string, std::string>> secrets_of(const tool_spec& spec, const environment& shared);

/// A runner for a tool of kind `http`. `invalid_argument` or `not_found` when the tool can never run: a template that is none, a secret
/// that is not set, no client. `done` is called on the client's thread, or within `start` where the arguments make no request.
expected<std::unique_ptr<runner>> make_http_runner(const tool_spec& spec, environment& shared);

} // namespace troupe::tools
