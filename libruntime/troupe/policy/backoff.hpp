#pragma once
// Back-off with full jitter (SEMANTICS 1; Brooker, "Exponential Backoff and Jitter", AWS 2015): wait = uniform(0, min(cap, base * 2^n)).
// Retry-After is a lower bound of it. LLM calls and tools share it.

#include <chrono>
#include <cstdint>
#include <optional>

#include "troupe/model/config.hpp"

namespace troupe::policy {

/// A Retry-After beyond this is a broken clock or a bad joke and is ignored, as a negative one is.
inline constexpr std::chrono::milliseconds retry_after_max = std::chrono::hours(24 * 7);

bool is_believed(std::optional<std::chrono::milliseconds> retry_after);

/// min(cap, base * 2^retry), without overflow for any values; never negative. `retry` counts from 0.
std::chrono::milliseconds backoff_ceiling(const retry_spec& spec, std::int64_t retry);

/// A wait of full jitter before the retry with this number (from 0). `random` is uniform in [0, 1); values outside are clamped.
std::chrono::milliseconds backoff_wait(const retry_spec& spec, std::int64_t retry, double random);

/// How long to wait before the retry, or nothing: do not wait, fail over now. Nothing is the answer where Retry-After is longer than the
/// cap, or where the wait reaches the end of the time left. `left`: absent means no deadline.
std::optional<std::chrono::milliseconds> retry_wait(const retry_spec& spec, std::int64_t retry, double random,
                                                    std::optional<std::chrono::milliseconds> retry_after,
                                                    std::optional<std::chrono::milliseconds> left);

} // namespace troupe::policy
