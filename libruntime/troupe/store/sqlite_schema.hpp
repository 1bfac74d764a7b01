#pragma once
// The tables of a journal file, and how older ones become today's.

#include "troupe/store/sqlite_db.hpp"

namespace troupe::store {

/// "Trup": what `PRAGMA application_id` of a journal says.
inline constexpr std::int64_t application_id = 0x54727570;
/// What `PRAGMA user_version` says of a file that this program writes.
std::int64_t schema_version();

/// The file's version; 0 for one without tables. Errors: `invalid_argument` for a database of another program or of a newer troupe, and
/// what the database answers.
expected<std::int64_t> version_of(database& db);

/// Makes the tables of an empty file, or brings an older file to `version`, in one transaction. Errors: those of
/// `version_of`.
expected<void> migrate(database& db, std::int64_t version = schema_version());

/// Settings of a connection: write-ahead log, a sync for each commit.
expected<void> configure(database& db);

} // namespace troupe::store
