#pragma once
// The templates of a script: `{{ captured.rows | max: count | field: service }}`, `{{ each captured.rows join ", " }}…{{ end }}`. A total
// language: what is absent is empty, nothing fails but a limit, and the work is bounded. Described for people in docs/rehearsals.md.

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "troupe/llm/request_view.hpp"

namespace troupe::llm::detail {

/// What one rendering may cost: bytes written, and bytes read or moved by expressions. Once something is used up, all that follows is
/// empty.
struct render_budget {
  std::size_t output_left = 1u << 20;
  std::size_t work_left = 64u << 20;
  bool exceeded = false;

  bool take_work(std::size_t amount) { return take(work_left, amount); }
  bool take_output(std::size_t amount) { return take(output_left, amount); }

private:
  bool take(std::size_t& left, std::size_t amount) {
    if (exceeded || amount > left) {
      exceeded = true;
      return false;
    }
    left -= amount;
    return true;
  }
};

/// What templates read.
struct render_scope {
  struct loop {
    std::string_view name;
    const json* item;
    std::size_t index;
  };
  const request_view& view;
  const json& captured;
  render_budget& budget;
  std::vector<loop> loops;
};

/// What a template may name: known when the script is compiled.
struct template_names {
  std::vector<std::string_view> captured;
  std::vector<std::string> loops; ///< names of the loops around it, the innermost last
};

struct operand {
  enum class kind { literal, last, first, system, agent, model, turn, tool, captured, item, index };
  kind from = kind::literal;
  json literal;
  std::string name;              ///< of a tool, a capture or a loop
  std::vector<std::string> path; ///< members, element numbers, or `count`
};

enum class filter_kind {
  json,
  join,
  count,
  first,
  last,
  field,
  where,
  sort,
  sort_by,
  reverse,
  unique,
  max,
  min,
  tally,
  take,
  number,
  fallback
};

struct filter {
  filter_kind what = filter_kind::json;
  std::string field; ///< of field, where, sort_by, max, min, tally; may be empty for the last three
  operand argument;  ///< of join, where, take, fallback
};

struct expression {
  operand root;
  std::vector<filter> filters;
};

/// A compiled text.
struct text_template {
  struct node {
    enum class kind { literal, value, each };
    kind what = kind::literal;
    std::string literal; ///< the text; of `each`: what stands between two repetitions
    expression value;    ///< of `each`: the list
    std::string loop;    ///< of `each`: the name of an element
    std::vector<node> body;
  };
  std::vector<node> nodes;

  bool is_constant() const;
  /// One expression and nothing around it.
  const expression* sole_expression() const;
};

/// Compiles a text. False when it is wrong; `problem` then says what, and what to write instead.
bool compile(std::string_view source, const template_names& names, text_template& into, std::string& problem);
/// Compiles a bare expression, without braces (`for_each: captured.rows`).
bool compile_expression(std::string_view source, const template_names& names, expression& into, std::string& problem);

json evaluate(const expression& value, render_scope& scope);
void render(const text_template& text, render_scope& scope, std::string& out);
/// A string is itself, nothing is empty, all else is compact JSON.
std::string text_of(const json& value);

/// A JSON value with templates in its strings. A string that is one expression and nothing else keeps the expression's type.
struct json_template {
  enum class kind { constant, text, array, object };
  kind what = kind::constant;
  json constant;
  text_template text;
  struct member; // no pair: that of a type within itself is not complete to every compiler
  std::vector<member> children;

  bool is_constant() const { return what == kind::constant; }
};
struct json_template::member {
  std::string name; ///< of an element: its number
  json_template value;
};

/// Compiles each string of `source`; problems go to `problems` as (pointer, words). At most 64 deep.
void compile(const json& source, const std::string& pointer, const template_names& names, json_template& into,
             std::vector<std::pair<std::string, std::string>>& problems);
json render(const json_template& value, render_scope& scope);

} // namespace troupe::llm::detail
