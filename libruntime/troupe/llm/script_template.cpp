#include "troupe/llm/script_template.hpp"

#include "troupe/llm/script_tokens.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::llm::detail {

namespace {

constexpr std::size_t most_template_bytes = 64u << 10;
constexpr std::size_t most_loops = 4;
constexpr std::size_t most_json_depth = 64;

/// Compiles from `at` to the end, or to the `{{ end }}` of the loop that it is in.
class template_reader {
public:
  template_reader(std::string_view source, const template_names& names, std::string& problem)
      : source_(source), names_(names), problem_(problem) {}

  bool read(std::vector<text_template::node>& into) { return read_until_end(into, names_.loops.size()); }

private:
  bool fail_at(std::size_t place, std::string words) {
    if (problem_.empty())
      problem_ = std::move(words);
    problem_ += ", in " + in_quotes(source_.substr(place, 60));
    return false;
  }

  bool read_until_end(std::vector<text_template::node>& into, std::size_t outer) {
    const bool in_loop = names_.loops.size() > outer;
    while (true) {
      const auto open = source_.find("{{", at_);
      if (open != at_ && at_ < source_.size()) {
        auto& node = into.emplace_back();
        node.literal = std::string(source_.substr(at_, open == std::string_view::npos ? open : open - at_));
      }
      if (open == std::string_view::npos) {
        at_ = source_.size();
        return !in_loop || fail_at(0, "a loop is not closed: {{ end }} is missing");
      }
      token_reader reader(source_, open + 2, names_, problem_);
      if (reader.accept_word("end")) {
        if (!in_loop)
          return fail_at(open, "{{ end }} without {{ each … }} before it");
        if (!reader.accept("}}"))
          return fail_at(open, "\"}}\" is missing");
        at_ = reader.position();
        return true;
      }
      const bool good =
          reader.accept_word("each") ? read_each(reader, open, into.emplace_back()) : read_value(reader, open, into.emplace_back());
      if (!good)
        return false;
    }
  }

  bool read_value(token_reader& reader, std::size_t open, text_template::node& node) {
    node.what = text_template::node::kind::value;
    if (!reader.read_expression(node.value))
      return fail_at(open, "");
    if (!reader.accept("}}"))
      return fail_at(open, "\"}}\" is missing after the expression");
    at_ = reader.position();
    return true;
  }

  bool read_each(token_reader& reader, std::size_t open, text_template::node& node) {
    node.what = text_template::node::kind::each;
    node.loop = "item";
    if (!reader.read_expression(node.value))
      return fail_at(open, "");
    if (reader.accept_word("as"))
      node.loop = std::string(reader.word());
    if (node.loop.empty())
      return fail_at(open, "a name is missing after \"as\"");
    if (reader.accept_word("join") && !reader.quoted_text(node.literal))
      return fail_at(open, "");
    if (!reader.accept("}}"))
      return fail_at(open, "\"}}\" is missing after {{ each EXPRESSION [as NAME] [join \"TEXT\"]");
    if (names_.loops.size() == most_loops)
      return fail_at(open, "loops are nested at most 4 deep");
    at_ = reader.position();
    const auto outer = names_.loops.size();
    names_.loops.push_back(node.loop);
    const bool good = read_until_end(node.body, outer);
    names_.loops.pop_back();
    return good;
  }

  std::string_view source_;
  template_names names_;
  std::string& problem_;
  std::size_t at_ = 0;
};

void render_nodes(const std::vector<text_template::node>& nodes, render_scope& scope, std::string& out);

void append(std::string_view text, render_scope& scope, std::string& out) {
  if (scope.budget.take_output(text.size()))
    out.append(text);
}

void render_each(const text_template::node& node, render_scope& scope, std::string& out) {
  const auto list = evaluate(node.value, scope);
  const auto size = list.is_array() ? list.size() : list.is_null() ? 0u : 1u;
  for (std::size_t i = 0; i < size && scope.budget.take_work(64); ++i) {
    if (i > 0)
      append(node.literal, scope, out);
    scope.loops.push_back({node.loop, list.is_array() ? &list[i] : &list, i});
    render_nodes(node.body, scope, out);
    scope.loops.pop_back();
  }
}

void render_nodes(const std::vector<text_template::node>& nodes, render_scope& scope, std::string& out) {
  for (const auto& node : nodes) {
    switch (node.what) {
    case text_template::node::kind::literal:
      append(node.literal, scope, out);
      break;
    case text_template::node::kind::value:
      append(text_of(evaluate(node.value, scope)), scope, out);
      break;
    case text_template::node::kind::each:
      render_each(node, scope, out);
      break;
    }
    if (scope.budget.exceeded)
      return;
  }
}

} // namespace

bool text_template::is_constant() const {
  return nodes.empty() || (nodes.size() == 1 && nodes.front().what == node::kind::literal);
}

const expression* text_template::sole_expression() const {
  return nodes.size() == 1 && nodes.front().what == node::kind::value ? &nodes.front().value : nullptr;
}

bool compile(std::string_view source, const template_names& names, text_template& into, std::string& problem) {
  if (source.size() > most_template_bytes) {
    problem = "a template has at most 64 KiB, this one has " + std::to_string(source.size()) + " bytes";
    return false;
  }
  return template_reader(source, names, problem).read(into.nodes);
}

void render(const text_template& text, render_scope& scope, std::string& out) {
  render_nodes(text.nodes, scope, out);
}

namespace {

void compile_json(const json& source, const std::string& pointer, std::size_t depth, const template_names& names, json_template& into,
                  std::vector<std::pair<std::string, std::string>>& problems) {
  if (depth > most_json_depth) {
    problems.emplace_back(pointer, "is nested more than 64 deep");
    return;
  }
  if (source.is_string()) {
    std::string problem;
    if (!compile(source.get_ref<const std::string&>(), names, into.text, problem)) {
      problems.emplace_back(pointer, problem);
    } else if (into.text.is_constant()) {
      into.constant = source;
    } else {
      into.what = json_template::kind::text;
    }
    return;
  }
  if (!source.is_structured()) {
    into.constant = source;
    return;
  }
  bool constant = true;
  std::size_t index = 0;
  const auto below = [&pointer](const std::string& name) { return pointer + "/" + name; };
  for (auto part = source.begin(); part != source.end(); ++part, ++index) {
    const auto name = source.is_object() ? part.key() : std::to_string(index);
    auto& child = into.children.emplace_back(json_template::member{name, {}}).value;
    compile_json(*part, below(name), depth + 1, names, child, problems);
    constant = constant && child.is_constant();
  }
  if (constant) {
    into.children.clear();
    into.constant = source;
  } else {
    into.what = source.is_object() ? json_template::kind::object : json_template::kind::array;
  }
}

} // namespace

void compile(const json& source, const std::string& pointer, const template_names& names, json_template& into,
             std::vector<std::pair<std::string, std::string>>& problems) {
  compile_json(source, pointer, 0, names, into, problems);
}

json render(const json_template& value, render_scope& scope) {
  switch (value.what) {
  case json_template::kind::constant:
    return value.constant;
  case json_template::kind::text: {
    if (const auto* sole = value.text.sole_expression())
      return evaluate(*sole, scope);
    std::string out;
    render(value.text, scope, out);
    return out;
  }
  case json_template::kind::array: {
    json out = json::array();
    for (const auto& child : value.children)
      out.push_back(render(child.value, scope));
    return out;
  }
  case json_template::kind::object: {
    json out = json::object();
    for (const auto& [name, child] : value.children)
      out[name] = render(child, scope);
    return out;
  }
  }
  return nullptr;
}

} // namespace troupe::llm::detail
