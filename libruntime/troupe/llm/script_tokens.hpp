#pragma once
// Reads the expressions within `{{ }}`, character by character.

#include "troupe/llm/script_template.hpp"

namespace troupe::llm::detail {

/// A position in a source. Its readers return false after they have put the first problem into words.
class token_reader {
public:
  token_reader(std::string_view source, std::size_t at, const template_names& names, std::string& problem)
      : source_(source), at_(at), names_(names), problem_(problem) {}

  std::size_t position() const { return at_; }
  bool at_end() {
    skip_space();
    return at_ == source_.size();
  }
  bool fail(std::string words);
  /// Takes a sign, when it comes next.
  bool accept(std::string_view text);
  /// Takes a whole word, when it comes next.
  bool accept_word(std::string_view word);
  std::string_view word();
  bool quoted_text(std::string& into);
  bool read_expression(expression& into);

private:
  void skip_space();
  bool next_is(std::string_view text);
  bool at_literal();
  bool literal(json& into);
  bool path(operand& into);
  bool read_operand(operand& into);
  bool check_root(operand& into);
  bool read_field(std::string& into);
  bool read_filter(filter& into);

  std::string_view source_;
  std::size_t at_;
  const template_names& names_;
  std::string& problem_;
};

} // namespace troupe::llm::detail
