// The rows of a journal, as a damaged or foreign file might hold them: the first byte chooses the event's type, then comes its text, and
// after a NUL the text that rows share. What reads is written, reads again, and is the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "troupe/model/event_types.hpp"
#include "troupe/store/row.hpp"
#include "troupe/util/utf8.hpp"

using namespace troupe;

namespace {

void must(bool condition) {
  if (!condition)
    std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1)
    return 0;
  const auto& types = event_type_names();
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto text = rest.substr(0, rest.find('\0'));
  const auto shared = rest.substr(std::min(rest.size(), text.size() + 1));
  const auto type = types[data[0] % types.size()];
  const auto body = store::read_body(type, text, shared);
  if (!body) {
    must(is_valid_utf8(body.error().message));
    return 0;
  }
  store::change_of(*body);
  store::shared_texts texts;
  std::string written;
  const auto kept = store::write_body(*body, texts, written);
  const auto again = store::read_body(type, written, kept ? std::string_view(kept->text) : std::string_view());
  must(again.has_value());
  std::string twice;
  const auto kept_twice = store::write_body(*again, texts, twice);
  must(written == twice && (kept ? kept->text : "") == (kept_twice ? kept_twice->text : ""));
  must(body_to_document(*body) == body_to_document(*again));
  return 0;
}
