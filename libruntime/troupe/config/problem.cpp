#include "troupe/config/problem.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "troupe/util/json_pointer.hpp"

namespace troupe::config {

namespace {

constexpr std::size_t longest_part = 1'000;

/// Without control characters (a name of the file may hold terminal escapes), cut at a code point.
void append_clean(std::string& out, std::string_view text) {
  constexpr std::string_view hex = "0123456789abcdef";
  bool cut = false;
  if (text.size() > longest_part) {
    std::size_t end = longest_part;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
      --end;
    text = text.substr(0, end);
    cut = true;
  }
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      out += "\\u00";
      out += hex[byte >> 4];
      out += hex[byte & 15];
    } else {
      out += c;
    }
  }
  if (cut)
    out += "…";
}

} // namespace

std::string problem::text() const {
  std::string out;
  append_clean(out, file);
  if (line > 0)
    out += ":" + std::to_string(line) + ":" + std::to_string(column);
  if (!out.empty())
    out += ": ";
  append_clean(out, pointer.empty() ? std::string_view("/") : std::string_view(pointer));
  out += ": ";
  append_clean(out, message);
  return out;
}

void problem_list::add(problem found) {
  if (full())
    ++left_out_;
  else
    list_.push_back(std::move(found));
}

std::vector<problem> problem_list::sorted() const {
  std::map<std::string_view, std::size_t> file_order;
  for (const auto& each : list_)
    file_order.try_emplace(each.file, file_order.size());
  auto out = list_;
  const auto rank = [&](const problem& p) { return std::make_tuple(file_order.at(p.file), p.line, p.column); };
  std::stable_sort(out.begin(), out.end(), [&](const problem& a, const problem& b) { return rank(a) < rank(b); });
  const auto same = [](const problem& a, const problem& b) {
    return a.file == b.file && a.line == b.line && a.column == b.column && a.pointer == b.pointer && a.message == b.message;
  };
  out.erase(std::unique(out.begin(), out.end(), same), out.end());
  if (left_out_ > 0 && !out.empty())
    out.back().message += " (and " + std::to_string(left_out_) + " more problems)";
  return out;
}

std::vector<std::string> pointer_tokens(std::string_view pointer) {
  std::vector<std::string> tokens;
  if (pointer.empty() || pointer.front() != '/')
    return tokens;
  for (std::size_t i = 0; i < pointer.size(); ++i) {
    const char c = pointer[i];
    if (c == '/')
      tokens.emplace_back();
    else if (c == '~' && i + 1 < pointer.size() && (pointer[i + 1] == '0' || pointer[i + 1] == '1'))
      tokens.back() += pointer[++i] == '0' ? '~' : '/';
    else
      tokens.back() += c;
  }
  return tokens;
}

std::string child_of(const std::string& pointer, std::string_view token) {
  std::string out = pointer;
  append_token(out, token);
  return out;
}
std::string child_of(const std::string& pointer, std::size_t index) {
  return pointer + "/" + std::to_string(index);
}

} // namespace troupe::config
