#pragma once
// The journal in memory, for tests and rehearsals: the same promises but the disk's. Its writer is a thread too, so that what depends on
// answers coming later is tried as it will be.

#include <memory>

#include "troupe/store/journal.hpp"

namespace troupe::store {

/// What several memory journals share, as processes share a file.
class memory_file;
std::shared_ptr<memory_file> make_memory_file();

std::unique_ptr<journal> open_memory(std::shared_ptr<memory_file> file = make_memory_file());

} // namespace troupe::store
