#pragma once
// What cannot happen is asserted, in release builds too: it kills one actor, which its supervisor restarts, and nothing else.

#include <stdexcept>
#include <string>

namespace troupe {

/// Thrown by TROUPE_ASSERT: a defect of ours.
class assertion_failure : public std::logic_error {
public:
  using std::logic_error::logic_error;
};

[[noreturn]] inline void fail_assertion(const char* condition, const char* file, int line) {
  throw assertion_failure("assertion \"" + std::string(condition) + "\" does not hold at " + file + ":" + std::to_string(line)
                          + "; this is a defect of troupe, please report it");
}

} // namespace troupe

#ifndef TROUPE_ASSERT
/// Throws `assertion_failure` where `condition` does not hold.
#define TROUPE_ASSERT(condition) ((condition) ? void(0) : ::troupe::fail_assertion(#condition, __FILE__, __LINE__))
#endif
