#pragma once
// What is wrong with a configuration, and where. All problems are told at once; a warning does not refuse the file.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace troupe::config {

/// One problem. Its text is `file:line:column: /pointer: message`, without control characters and at most about 2 kB.
struct problem {
  std::string file;         ///< as the user gave it, or as an `include` reaches it from there
  std::uint32_t line = 0;   ///< from 1; 0: the whole file
  std::uint32_t column = 0; ///< from 1, in code points
  std::string pointer;      ///< JSON pointer; "" is the whole document
  std::string message;      ///< what is wrong and what to do

  std::string text() const;
};

/// Collects problems up to a bound; what comes after it is counted, not kept.
class problem_list {
public:
  static constexpr std::size_t most = 100;

  void add(problem found);
  /// No more are kept: expensive looking for more may stop.
  bool full() const { return list_.size() >= most; }
  bool empty() const { return list_.empty(); }
  std::size_t size() const { return list_.size(); }
  /// By file (in order of first mention), line, column; the same text twice is kept once. Says at the end when more were found.
  std::vector<problem> sorted() const;

private:
  std::vector<problem> list_;
  std::size_t left_out_ = 0;
};

/// The tokens of a pointer, unescaped.
std::vector<std::string> pointer_tokens(std::string_view pointer);
/// `pointer` with one more token.
std::string child_of(const std::string& pointer, std::string_view token);
std::string child_of(const std::string& pointer, std::size_t index);

} // namespace troupe::config
