#pragma once
// What the loop detector compares (SEMANTICS 2): calls, outcomes and texts become numbers once, so that whoever judges never sees a long
// text. Equal after canonicalisation means equal numbers, in every process and version: nothing here depends on the machine.
//
// Canonical arguments: order of members and spelling of numbers do not matter (RFC 8785: 1.0 is 1), strings are trimmed, case-folded, and
// runs of white space in them are one blank; members that `loop_ignore` names do not count. Arguments that are no JSON are compared as
// text.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace troupe::policy {

/// Trimmed, case-folded, each run of white space one blank. Letters of Latin, Greek, Cyrillic and Armenian script are folded; other
/// characters stay as they are. Ill-formed bytes are kept.
std::string normalised_text(std::string_view text);

/// A tool's name as a number.
std::uint64_t tool_sign(std::string_view tool);

/// One number for all calls that are the same to a reader: tool and canonical arguments. `ignored`: members of the arguments that do not
/// count. Linear in the text.
std::uint64_t call_sign(std::string_view tool, std::string_view arguments, const std::vector<std::string>& ignored = {});

/// Of an outcome's text, white space at its ends aside. Linear.
std::uint64_t outcome_sign(std::string_view text);

/// Whether an outcome says so little by its nature that the same one twice tells nothing: no text, null, [], {}, "ok", a truth value,
/// "no results", or JSON that holds nothing else.
bool is_hollow(std::string_view outcome);

/// A text as its words, each as often as it comes: what makes two texts nearly the same. Bounded: of a long text it keeps the 256 words
/// whose numbers are smallest (Broder's bottom-k sketch), which estimates the similarity of all.
struct text_sketch {
  std::uint64_t whole = 0;          ///< of the normalised text
  std::uint64_t words = 0;          ///< how many there are in all
  std::vector<std::uint32_t> least; ///< ascending
};

text_sketch sketch_of(std::string_view text);

/// Dice's coefficient of the two texts' words: 1 for the same normalised text, 0 for nothing in common; 0.95 is one word in twenty. Exact
/// up to 256 words. At most 512 steps.
double similarity(const text_sketch& a, const text_sketch& b);

} // namespace troupe::policy
