#pragma once
// One error type for the whole runtime: a code to decide by, a message for people, a place.

#include <string>
#include <utility>

#include <boost/describe.hpp>
#include <tl/expected.hpp>

namespace troupe {

enum class error_code {
  none,
  invalid_argument, ///< a malformed thing from outside: configuration, script, argument
  not_found,        ///< a name that is not there
  conflict,         ///< somebody else holds it, or decided already
  unavailable,      ///< a needed service cannot be reached; trying later may help
  timeout,
  cancelled,
  corrupt,   ///< stored data that fails its checksum or does not parse
  exhausted, ///< a limit is used up
  permission_denied,
  internal, ///< a defect of ours
};
BOOST_DESCRIBE_ENUM(error_code, none, invalid_argument, not_found, conflict, unavailable, timeout, cancelled, corrupt, exhausted,
                    permission_denied, internal)

/// What went wrong. `message` says what, why and what to do, without a stack trace; `where` is "file:line:column: /pointer",
/// a provider, a run, a tool: whatever place people know.
struct error {
  error_code code = error_code::none;
  std::string message;
  std::string where;

  /// "where: message", or the message alone.
  std::string text() const { return where.empty() ? message : where + ": " + message; }
  friend bool operator==(const error&, const error&) = default;
};
BOOST_DESCRIBE_STRUCT(error, (), (code, message, where))

template <class T>
using expected = tl::expected<T, error>;

inline tl::unexpected<error> fail(error_code code, std::string message, std::string where = {}) {
  return tl::unexpected<error>(error{code, std::move(message), std::move(where)});
}

} // namespace troupe
