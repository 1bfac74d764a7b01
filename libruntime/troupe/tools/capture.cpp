#include "troupe/tools/capture.hpp"

#include <algorithm>
#include <utility>

#include "troupe/util/redact.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::tools {

void capture::take(std::string_view bytes) {
  total_ += bytes.size();
  if (which_ == keep::start) {
    text_.append(bytes.substr(0, limit_ + 4 - text_.size())); // a little more, to see where the last character ends
    return;
  }
  text_.append(bytes);
  if (text_.size() > 2 * limit_)
    text_.erase(0, text_.size() - limit_);
}

std::string capture::take_text() {
  auto text = std::move(text_);
  text_.clear();
  if (total_ <= text.size()) {
    text = redacted(std::move(text)); // before it is cut: a part of a secret is not found any more
  } else if (which_ == keep::start) {
    text.resize(utf8_prefix(text, limit_).size());
    text = redacted_at(std::move(text), redactor::cut::end);
  } else {
    text = redacted_at(std::move(text), redactor::cut::start);
  }
  if (which_ == keep::end && text.size() > limit_) {
    auto from = text.size() - limit_;
    while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80)
      ++from; // not in the middle of a character
    text.erase(0, from);
  }
  if (text.size() > limit_)
    text.resize(utf8_prefix(text, limit_).size());
  mend_utf8(text);
  if (text.size() > limit_) // each byte that was none of UTF-8 is three now
    text.resize(utf8_prefix(text, limit_).size());
  return text;
}

} // namespace troupe::tools
