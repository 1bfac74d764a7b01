#pragma once
// Secrets are redacted by value: whatever text leaves the process (log, event, error, API) goes through `redacted`.

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/model/error.hpp"

namespace troupe {

/// A set of secret values that are replaced by "[redacted]" in any text. All members may be called from any thread. Costs one atomic
/// load where no secret is known, else one search for each secret.
class redactor {
public:
  /// Adds a secret, and the forms it takes inside a JSON string (as the writers of several languages escape it), a URL, and in base64,
  /// also in the middle of what was encoded ("user:password" of Basic). Values under 4 bytes are ignored: redacting them would wreck any
  /// text and hide nothing.
  void add(std::string_view secret);

  /// The text without any known secret; longer secrets are replaced first, so that one inside another leaves nothing behind. A secret
  /// that is split over two calls is not found: redact whole texts.
  std::string apply(std::string text) const;

  /// What a text was cut off from. A secret that the cut ran through is no longer found whole.
  enum class cut { start, end };
  /// The text without the part of a secret, of 4 bytes and more, that a cut has left at that edge. `apply` does the rest.
  std::string_view without_remains(std::string_view text, cut at) const;

  bool empty() const { return count_.load(std::memory_order_acquire) == 0; }

private:
  using list = std::vector<std::string>;
  std::shared_ptr<const list> known() const;

  mutable std::mutex mutex_;
  std::shared_ptr<const list> secrets_ = std::make_shared<const list>(); // longest first
  std::atomic<std::size_t> count_{0};
};

/// The process's own: what `take_secret` has read is in it.
redactor& secrets();

/// `secrets().apply(text)`.
std::string redacted(std::string text);

/// A text of which nothing is known beyond its edge, as it may be shown: `redacted`, and "[redacted]" for what is left of a secret there.
std::string redacted_at(std::string text, redactor::cut at);

/// The longest prefix of at most `max_bytes` bytes that cuts neither a code point nor a secret: for texts that are redacted later.
std::string_view safe_prefix(std::string_view text, std::size_t max_bytes);

/// Reads a secret from an environment variable, adds it to `secrets()`, and overwrites it in our own environment, so that neither
/// /proc/PID/environ nor a child process shows it (afterwards the variable is there and empty). Later calls for the same name answer
/// what was read first, unless the variable has been set anew. `not_found` when it is not set or empty. Any thread, but no other
/// thread may change the environment meanwhile: call it while starting.
expected<std::string> take_secret(const std::string& variable);

/// Why a key can be none, in words that go on after its variable's name and show nothing of it; empty: it may be one. A header cannot hold
/// a line break, and drops white space at its ends.
std::string flaw_of_key(std::string_view key);

} // namespace troupe
