#pragma once
// The JSON in an answer: models put it into code fences and explain it, although they were asked for the value alone.

#include <cstddef>
#include <string_view>

#include <nlohmann/json.hpp>

#include "troupe/model/error.hpp"

namespace troupe {

struct found_json {
  nlohmann::json value;
  std::string_view text; ///< where it stands in the answer
};

/// The whole answer where it is JSON; else the one object or array in its code fences, where its text holds no other that is meant as JSON;
/// else the one object or array in its text. The same one twice is two: which one is meant is not guessed.
/// `invalid_argument` says why there is none (with the parser's words where JSON was meant, so that a part of an answer that broke
/// off is never taken for it), or that there are several. Time is linear in the text: a text that nests thousands of broken brackets is
/// given up on.
expected<found_json> json_in_text(std::string_view text);

} // namespace troupe
