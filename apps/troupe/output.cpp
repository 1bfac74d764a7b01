#include "output.hpp"

#include <cstdio>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "timeline.hpp"
#include "troupe/util/redact.hpp"

namespace troupe::cli {

namespace {

void put(const std::string& text, std::string (*safe)(std::string_view)) {
  const auto shown = ::isatty(STDOUT_FILENO) != 0 ? safe(text) : text;
  std::fwrite(shown.data(), 1, shown.size(), stdout);
}

} // namespace

void print_text(const std::string& text) {
  put(text, printable_text);
}

void print_document(const nlohmann::json& document, int indent) {
  put(redacted(document.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace)) + "\n", printable_json);
}

} // namespace troupe::cli
