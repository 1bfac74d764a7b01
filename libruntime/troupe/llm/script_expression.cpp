// Reads expressions: PATH | FILTER: ARGUMENTS | …
#include "troupe/llm/script_tokens.hpp"

#include "troupe/util/suggest.hpp"

namespace troupe::llm::detail {

namespace {

constexpr std::size_t most_filters = 16;
constexpr std::size_t most_path = 16;

constexpr bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
constexpr bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '-';
}

struct filter_row {
  std::string_view name;
  filter_kind what;
  enum { none, optional_field, field, value, field_and_value } takes;
};

constexpr filter_row filter_table[] = {
    {"json", filter_kind::json, filter_row::none},
    {"join", filter_kind::join, filter_row::value},
    {"count", filter_kind::count, filter_row::none},
    {"first", filter_kind::first, filter_row::none},
    {"last", filter_kind::last, filter_row::none},
    {"field", filter_kind::field, filter_row::field},
    {"where", filter_kind::where, filter_row::field_and_value},
    {"sort", filter_kind::sort, filter_row::none},
    {"sort_by", filter_kind::sort_by, filter_row::field},
    {"reverse", filter_kind::reverse, filter_row::none},
    {"unique", filter_kind::unique, filter_row::none},
    {"max", filter_kind::max, filter_row::optional_field},
    {"min", filter_kind::min, filter_row::optional_field},
    {"tally", filter_kind::tally, filter_row::optional_field},
    {"take", filter_kind::take, filter_row::value},
    {"number", filter_kind::number, filter_row::none},
    {"default", filter_kind::fallback, filter_row::value},
};

struct root_row {
  std::string_view name;
  operand::kind from;
};

constexpr root_row root_table[] = {
    {"last", operand::kind::last},   {"first", operand::kind::first}, {"system", operand::kind::system},
    {"agent", operand::kind::agent}, {"model", operand::kind::model}, {"turn", operand::kind::turn},
    {"tool", operand::kind::tool},   {"index", operand::kind::index}, {"captured", operand::kind::captured},
};

template <class Table>
std::vector<std::string_view> names_in(const Table& table) {
  std::vector<std::string_view> names;
  for (const auto& row : table)
    names.push_back(row.name);
  return names;
}

} // namespace

bool token_reader::fail(std::string words) {
  if (problem_.empty())
    problem_ = std::move(words);
  return false;
}

void token_reader::skip_space() {
  while (at_ < source_.size() && is_space(source_[at_]))
    ++at_;
}

bool token_reader::next_is(std::string_view text) {
  skip_space();
  return source_.substr(at_, text.size()) == text;
}

bool token_reader::accept(std::string_view text) {
  if (!next_is(text))
    return false;
  at_ += text.size();
  return true;
}

bool token_reader::accept_word(std::string_view word) {
  if (!next_is(word) || (at_ + word.size() < source_.size() && (is_name(source_[at_ + word.size()]) || source_[at_ + word.size()] == '.')))
    return false;
  at_ += word.size();
  return true;
}

std::string_view token_reader::word() {
  skip_space();
  const auto begin = at_;
  while (at_ < source_.size() && is_name(source_[at_]))
    ++at_;
  return source_.substr(begin, at_ - begin);
}

bool token_reader::quoted_text(std::string& into) {
  skip_space();
  if (at_ >= source_.size() || (source_[at_] != '"' && source_[at_] != '\''))
    return fail("a text in quotes is wanted here");
  const char quote = source_[at_++];
  while (at_ < source_.size() && source_[at_] != quote) {
    char c = source_[at_++];
    if (c == '\\' && at_ < source_.size()) {
      c = source_[at_++];
      if (c == 'n')
        c = '\n';
      else if (c == 't')
        c = '\t';
      else if (c != '\\' && c != '"' && c != '\'')
        return fail("unknown escape \"\\" + std::string(1, c) + R"(" in a text; known are \n \t \\ \" \')");
    }
    into.push_back(c);
  }
  if (at_ >= source_.size())
    return fail("a text in quotes does not end");
  ++at_;
  return true;
}

bool token_reader::at_literal() {
  skip_space();
  if (at_ >= source_.size())
    return false;
  const char c = source_[at_];
  return c == '"' || c == '\'' || is_digit(c) || (c == '-' && at_ + 1 < source_.size() && is_digit(source_[at_ + 1]));
}

bool token_reader::literal(json& into) {
  if (next_is("\"") || next_is("'")) {
    std::string text;
    if (!quoted_text(text))
      return false;
    into = std::move(text);
    return true;
  }
  const auto begin = at_;
  while (at_ < source_.size() && (is_name(source_[at_]) || source_[at_] == '.' || source_[at_] == '+'))
    ++at_;
  into = json::parse(source_.substr(begin, at_ - begin), nullptr, false);
  if (!into.is_number())
    return fail("\"" + std::string(source_.substr(begin, at_ - begin)) + "\" is no number; put texts in quotes");
  return true;
}

bool token_reader::path(operand& into) {
  while (at_ < source_.size() && source_[at_] == '.') {
    ++at_;
    const auto begin = at_;
    while (at_ < source_.size() && is_name(source_[at_]))
      ++at_;
    if (at_ == begin)
      return fail("a name or number is missing after \".\"");
    if (into.path.size() == most_path)
      return fail("a path has at most 16 parts");
    into.path.emplace_back(source_.substr(begin, at_ - begin));
  }
  return true;
}

bool token_reader::read_operand(operand& into) {
  if (at_literal()) {
    into.from = operand::kind::literal;
    return literal(into.literal);
  }
  const auto root = word();
  if (root.empty())
    return fail("a value is missing: a name such as last or captured.NAME, or a text in quotes");
  for (auto loop = names_.loops.rbegin(); loop != names_.loops.rend(); ++loop)
    if (*loop == root) {
      into.from = operand::kind::item;
      into.name = root;
      return path(into);
    }
  for (const auto& row : root_table)
    if (row.name == root) {
      into.from = row.from;
      if (!path(into))
        return false;
      return check_root(into);
    }
  if (root == "item")
    return fail("\"item\" is known only within {{ each … }} or a tool call with for_each");
  auto candidates = names_in(root_table);
  candidates.insert(candidates.end(), names_.loops.begin(), names_.loops.end());
  return fail("nothing is named " + in_quotes(root) + did_you_mean(root, candidates)
              + " Known are: last, first, system, agent, model, turn, tool.NAME, captured.NAME, and item and index in a loop");
}

bool token_reader::check_root(operand& into) {
  if (into.from == operand::kind::index && names_.loops.empty())
    return fail("\"index\" is known only within {{ each … }} or a tool call with for_each");
  if (into.from != operand::kind::captured && into.from != operand::kind::tool) {
    return into.path.empty() || fail("what stands before the \".\" is a text or a number and has no parts");
  }
  const bool is_tool = into.from == operand::kind::tool;
  if (into.path.empty())
    return fail(is_tool ? "which tool? Write tool.NAME" : "which capture? Write captured.NAME");
  into.name = std::move(into.path.front());
  into.path.erase(into.path.begin());
  if (is_tool)
    return into.path.empty() || fail("the result of a tool is a text and has no parts; take them with a capture");
  for (const auto name : names_.captured)
    if (name == into.name)
      return true;
  return fail("this rule captures nothing named " + in_quotes(into.name) + did_you_mean(into.name, names_.captured));
}

bool token_reader::read_field(std::string& into) {
  if (next_is("\"") || next_is("'"))
    return quoted_text(into);
  into = std::string(word());
  return !into.empty() || fail("the name of a field is missing after \":\"");
}

bool token_reader::read_filter(filter& into) {
  const auto name = word();
  if (name.empty())
    return fail("the name of a filter is missing after \"|\"");
  const filter_row* found = nullptr;
  for (const auto& row : filter_table)
    if (row.name == name)
      found = &row;
  if (!found)
    return fail("no filter is named " + in_quotes(name) + did_you_mean(name, names_in(filter_table)));
  into.what = found->what;
  if (!accept(":"))
    return found->takes == filter_row::none || found->takes == filter_row::optional_field
           || fail("the filter " + in_quotes(name) + " needs an argument: " + std::string(name) + ": …");
  switch (found->takes) {
  case filter_row::none:
    return fail("the filter " + in_quotes(name) + " takes no argument");
  case filter_row::optional_field:
  case filter_row::field:
    return read_field(into.field);
  case filter_row::value:
    return read_operand(into.argument);
  case filter_row::field_and_value:
    return read_field(into.field) && (accept(",") || fail("where takes a field and a value: where: service, \"billing\""))
           && read_operand(into.argument);
  }
  return false;
}

bool token_reader::read_expression(expression& into) {
  if (!read_operand(into.root))
    return false;
  while (accept("|")) {
    if (into.filters.size() == most_filters)
      return fail("an expression has at most 16 filters");
    if (!read_filter(into.filters.emplace_back()))
      return false;
  }
  return true;
}

bool compile_expression(std::string_view source, const template_names& names, expression& into, std::string& problem) {
  token_reader reader(source, 0, names, problem);
  if (!reader.read_expression(into))
    return false;
  return reader.at_end() || reader.fail("what is " + in_quotes(source.substr(reader.position())) + " after the expression?");
}

} // namespace troupe::llm::detail
