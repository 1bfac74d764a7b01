#include "troupe/llm/sse_parser.hpp"

#include <charconv>
#include <cstdint>

namespace troupe::llm {

namespace {
constexpr std::string_view bom = "\xEF\xBB\xBF";
}

bool sse_parser::overflow() {
  overflowed_ = true;
  stopped_ = true;
  partial_ = {};
  data_ = {};
  return false;
}

bool sse_parser::feed(std::string_view piece, const on_event& sink) {
  if (stopped_)
    return false;
  // One BOM at the very start, itself perhaps in pieces; what turns out to be none is content.
  while (start_ < bom.size() && !piece.empty()) {
    if (piece.front() != bom[start_]) {
      partial_.append(bom.substr(0, start_));
      start_ = bom.size();
      break;
    }
    ++start_;
    piece.remove_prefix(1);
  }
  while (!piece.empty()) {
    if (skip_lf_) {
      skip_lf_ = false;
      if (piece.front() == '\n') {
        piece.remove_prefix(1);
        continue;
      }
    }
    const auto end = piece.find_first_of("\r\n");
    const auto text = piece.substr(0, end);
    if (partial_.size() + text.size() > limits_.line_bytes)
      return overflow();
    if (end == std::string_view::npos) {
      partial_.append(text);
      return true;
    }
    skip_lf_ = piece[end] == '\r';
    piece.remove_prefix(end + 1);
    bool more = false;
    if (partial_.empty()) {
      more = line(text, sink);
    } else {
      partial_.append(text);
      more = line(partial_, sink);
      partial_.clear();
    }
    if (!more) {
      stopped_ = true;
      return false;
    }
  }
  return true;
}

bool sse_parser::line(std::string_view text, const on_event& sink) {
  if (text.empty())
    return dispatch(sink);
  const auto colon = text.find(':');
  const auto field = text.substr(0, colon);
  auto value = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
  if (!value.empty() && value.front() == ' ')
    value.remove_prefix(1);
  if (field == "data") {
    if (data_.size() + value.size() + 1 > limits_.event_bytes)
      return overflow();
    if (has_data_)
      data_.push_back('\n');
    data_.append(value);
    has_data_ = true;
  } else if (field == "event") {
    type_.assign(value);
  } else if (field == "id") {
    if (value.find('\0') == std::string_view::npos)
      id_.assign(value);
  } else if (field == "retry") {
    std::int64_t wait = 0;
    const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), wait);
    if (code == std::errc{} && end == value.data() + value.size() && wait >= 0)
      retry_ = std::chrono::milliseconds(wait);
  }
  return true;
}

bool sse_parser::dispatch(const on_event& sink) {
  // An event without a data line is none; one whose only data line is empty is one with empty data.
  last_id_ = id_;
  bool more = true;
  if (has_data_)
    more = sink(sse_event{type_.empty() ? std::string_view("message") : std::string_view(type_), data_});
  data_.clear();
  type_.clear();
  has_data_ = false;
  return more;
}

} // namespace troupe::llm
