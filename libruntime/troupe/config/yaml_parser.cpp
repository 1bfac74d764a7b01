// YAML through yaml-cpp's events. What yaml-cpp 0.7 does not guard is guarded here: it queues all tokens of a flow collection before
// its first event (so the text is handed to it in pieces, and the indicators since the last event are counted), recurses once for each
// level (the builder stops it at its depth), and takes duplicate keys, cycles and any tag.

#include "troupe/config/readers.hpp"

#include <array>
#include <cstring>
#include <istream>
#include <streambuf>
#include <unordered_map>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "troupe/config/core_schema.hpp"
#include "troupe/config/text_cursor.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

/// Tokens that yaml-cpp may have queued without an event: about 100 bytes each, two for an indicator.
constexpr std::size_t most_indicators = 200'000;

constexpr std::array<bool, 256> indicator_table() {
  std::array<bool, 256> table{};
  for (const char c : std::string_view("[]{},:?-&*!'\"|>%#"))
    table[static_cast<unsigned char>(c)] = true;
  return table;
}

/// Hands the text out in the pieces that yaml-cpp asks for, and stops where one value holds too many indicators.
class guarded_text final : public std::streambuf {
public:
  guarded_text(std::string_view text, tree_builder& into, text_cursor& cursor) : into_(into), cursor_(cursor) {
    auto* begin = const_cast<char*>(text.data()); // only read: there is no put area
    setg(begin, begin, begin + text.size());
  }
  void saw_event() { indicators_ = 0; }

protected:
  std::streamsize xsgetn(char* to, std::streamsize most) override {
    static constexpr auto table = indicator_table();
    const auto count = std::min<std::streamsize>(most, egptr() - gptr());
    for (std::streamsize i = 0; i < count; ++i)
      indicators_ += table[static_cast<unsigned char>(gptr()[i])] ? 1u : 0u;
    if (indicators_ > most_indicators)
      into_.stop(cursor_.at(static_cast<std::size_t>(gptr() - eback())),
                 "more than " + std::to_string(most_indicators) + " of the characters []{},:?-&*!'\" in one value; split it");
    std::memcpy(to, gptr(), static_cast<std::size_t>(count));
    setg(eback(), gptr() + count, egptr());
    return count;
  }

private:
  tree_builder& into_;
  text_cursor& cursor_;
  std::size_t indicators_ = 0;
};

class yaml_events final : public YAML::EventHandler {
public:
  yaml_events(std::string_view text, tree_builder& into, text_cursor& cursor, guarded_text& source)
      : text_(text), cursor_(cursor), into_(into), source_(source) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (!started_) {
      started_ = true;
      return;
    }
    const auto offset = offset_of(mark);
    into_.stop(cursor_.at(offset), text_.substr(offset, 3) == "---" ? "a second document begins here; a file holds one"
                                                                    : "this does not belong to the document, which ended before it");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    source_.saw_event();
    const auto offset = offset_of(mark);
    const auto rest = text_.substr(offset, 1);
    if (into_.wants_key()) // the parser reports a text at which an unclosed mapping ends as a missing key
      into_.stop(where(mark), rest == ":" || rest == "?"
                                  ? "a key is missing before the colon; write \"\" or its name in quotes when that is meant"
                                  : "the mapping is not closed: } or , is missing");
    const bool written = rest == "~" || rest == "n" || rest == "N";
    remember(anchor, into_.scalar(nullptr, written || !last_key_ ? cursor_.at(offset) : *last_key_));
    last_key_.reset();
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    source_.saw_event();
    const auto at = where(mark);
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end())
      into_.stop(at, "an alias of something that is no value");
    last_key_.reset();
    if (!into_.wants_key()) {
      into_.alias(found->second, at);
      return;
    }
    const auto* text = into_.is_open(found->second) ? nullptr : into_.string_of(found->second);
    if (text == nullptr)
      into_.stop(at, "a key is a text; this alias stands for something else");
    set_key(*text, at);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    source_.saw_event();
    const auto at = where(mark);
    refuse_tab_before(mark);
    if (into_.wants_key()) {
      if (tag == "?" && value == "<<")
        into_.stop(at, "merge keys (<<) are not part of YAML 1.2; write the keys out, or quote the name");
      if (tag != "?" && tag != "!" && tag != core_prefix + "str")
        into_.stop(at, "a key has a tag " + in_quotes(tag) + "; keys are texts");
      // A scalar key may be anchored, and its alias may stand as a value: it must be a node of its own then.
      if (anchor != 0)
        into_.stop(at, "an anchor on a key; put it on a value");
      set_key(value, at);
      return;
    }
    last_key_.reset();
    std::string wrong;
    json resolved;
    if (tag == "?")
      resolved = plain_scalar(value, wrong);
    else if (tag == "!")
      resolved = value;
    else
      resolved = tagged_scalar(core_tag(tag, {"str", "int", "float", "bool", "null"}, at), value, wrong);
    if (!wrong.empty())
      into_.report(at, std::move(wrong));
    remember(anchor, into_.scalar(std::move(resolved), at));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value style) override {
    start(true, mark, tag, anchor, style);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value style) override {
    start(false, mark, tag, anchor, style);
  }
  void OnMapEnd() override { end(); }

  position where(const YAML::Mark& mark) { return cursor_.at(offset_of(mark)); }

private:
  inline static const std::string core_prefix = "tag:yaml.org,2002:";

  std::size_t offset_of(const YAML::Mark& mark) const {
    return mark.pos < 0 ? 0 : std::min(static_cast<std::size_t>(mark.pos), text_.size());
  }

  void set_key(std::string text, position at) {
    into_.key(std::move(text), at);
    last_key_ = at;
  }

  void remember(YAML::anchor_t anchor, tree_builder::node_id node) {
    if (anchor != 0)
      anchors_[anchor] = node;
  }

  std::string core_tag(const std::string& tag, std::initializer_list<std::string_view> known, position at) {
    if (tag.compare(0, core_prefix.size(), core_prefix) == 0)
      for (const auto name : known)
        if (tag.compare(core_prefix.size(), std::string::npos, name) == 0)
          return std::string(name);
    into_.stop(at, "unknown tag " + in_quotes(tag)
                       + "; leave it out (values are those of JSON: !!str !!int !!float !!bool !!null !!seq !!map)");
  }

  void start(bool is_array, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value style) {
    source_.saw_event();
    const auto at = where(mark);
    if (into_.wants_key())
      into_.stop(
          at, "a key is a text, not a mapping or a sequence; put a text that begins with a bracket in quotes, as \"{{ name }}\", and see "
              "that each bracket is closed");
    refuse_tab_before(mark);
    if (tag != "?" && tag != "!")
      core_tag(tag, {is_array ? std::string_view("seq") : std::string_view("map")}, at);
    remember(anchor, into_.open(is_array, at));
    last_key_.reset();
    flow_.push_back(style == YAML::EmitterStyle::Flow);
  }

  void end() {
    source_.saw_event();
    into_.close();
    last_key_.reset();
    flow_.pop_back();
  }

  /// In block style white space at a line's start is indentation, and a tab has no width there (YAML 1.2, section 6.1).
  void refuse_tab_before(const YAML::Mark& mark) {
    if (!flow_.empty() && flow_.back())
      return;
    bool tab = false;
    auto offset = offset_of(mark);
    for (; offset > 0 && (text_[offset - 1] == ' ' || text_[offset - 1] == '\t'); --offset)
      tab = tab || text_[offset - 1] == '\t';
    if (tab && (offset == 0 || text_[offset - 1] == '\n'))
      into_.stop(where(mark), "a tab indents this line; use spaces");
  }

  std::string_view text_;
  text_cursor& cursor_;
  tree_builder& into_;
  guarded_text& source_;
  std::unordered_map<YAML::anchor_t, tree_builder::node_id> anchors_;
  std::vector<bool> flow_;
  std::optional<position> last_key_; ///< the key whose value comes next
  bool started_ = false;
};

/// yaml-cpp's words, where they do not say what to do.
std::string words_of(const std::string& message) {
  static const std::vector<std::pair<std::string_view, std::string_view>> better{
      {"illegal map value", "a colon where no value can stand; quote the text, or check the indentation"},
      {"end of map not found", "this does not continue the mapping around it; check the indentation"},
      {"end of sequence not found", "this does not continue the list around it; check the indentation"},
      {"end of map flow not found", "the mapping is not closed: } or , is missing"},
      {"end of sequence flow not found", "the list is not closed: ] or , is missing"},
      {"illegal block entry", "a list item cannot stand here; begin it on a line of its own"},
      {"illegal map key", "a key cannot stand here"},
      {"illegal flow end", "a bracket closes what was not opened"},
      {"illegal EOF in scalar", "a quoted text is not closed"},
      {"illegal document indicator in scalar", "a quoted text is not closed before the document ends"},
      {"unknown token", "a character that no plain text can begin with; quote the text"},
      {"the referenced anchor is not defined", "an alias of an anchor that is not defined before it"},
  };
  for (const auto& [theirs, ours] : better)
    if (message == theirs)
      return std::string(ours);
  return "this is no YAML: " + message;
}

/// A tab at the start of the line where the parser gave up, or of the one before: most likely the reason.
bool tab_indents(std::string_view text, std::size_t offset) {
  offset = std::min(offset, text.size());
  for (int lines = 0; lines < 2; ++lines) {
    const auto before = offset == 0 ? std::string_view::npos : text.rfind('\n', offset - 1);
    auto start = before == std::string_view::npos ? 0 : before + 1;
    while (start < text.size() && text[start] == ' ')
      ++start;
    if (start < text.size() && text[start] == '\t')
      return true;
    if (before == std::string_view::npos)
      return false;
    offset = before;
  }
  return false;
}

/// A quoted text that is not closed and ends in a line break passes for closed; a comment behind it does not let it.
std::string with_end(std::string_view text) {
  const auto last = text.find_last_not_of(" \t");
  if (last == std::string_view::npos || text[last] != '\n')
    return std::string(text);
  std::string out;
  out.reserve(last + 2);
  return out.append(text, 0, last + 1).append("#");
}

} // namespace

void read_yaml(std::string_view text, tree_builder& into) {
  text_cursor cursor(text);
  const auto closed = with_end(text);
  guarded_text source(closed, into, cursor);
  yaml_events events(text, into, cursor, source);
  std::istream stream(&source);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(events)) {
    }
  } catch (const YAML::Exception& problem) {
    const auto offset = problem.mark.pos < 0 ? text.size() : static_cast<std::size_t>(problem.mark.pos);
    into.stop(cursor.at(offset), tab_indents(text, offset) ? "a tab indents a line here; use spaces" : words_of(problem.msg));
  }
}

} // namespace troupe::config
