#include "troupe/config/include.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <set>

#include "troupe/config/view.hpp"
#include "troupe/config/yaml_reader.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_files = 100;
constexpr std::size_t most_bytes = 16u << 20;
constexpr std::size_t most_levels = 10;

void set_file(place& where, std::uint32_t file) {
  where.file = file;
  for (auto& child : where.children)
    set_file(child, file);
}

void make_absolute(json& value, const fs::path& folder) {
  if (value.is_array()) {
    for (auto& each : value)
      make_absolute(each, folder);
    return;
  }
  if (!value.is_string())
    return;
  auto& path = value.get_ref<std::string&>();
  // What begins with a variable is known only later; it starts at the first file's folder then. "~" is refused there.
  if (!path.empty() && path.front() != '/' && !begins_at_home(path) && path.compare(0, 2, "${") != 0)
    path = (folder / path).lexically_normal().string();
}

/// Every value of the format that is a path.
void make_paths_absolute(json& document, const fs::path& folder) {
  const auto member = [](json& of, const char* key) -> json* {
    if (!of.is_object())
      return nullptr;
    const auto found = of.find(key);
    return found == of.end() ? nullptr : &*found;
  };
  const auto absolute = [&](json* of, std::initializer_list<const char*> keys) {
    if (of == nullptr)
      return;
    for (const auto* key : keys)
      if (auto* found = member(*of, key))
        make_absolute(*found, folder);
  };
  const auto each_member = [&](const char* section, const auto& visit) {
    auto* found = member(document, section);
    if (found != nullptr && found->is_object())
      for (auto& [name, entry] : found->get_ref<json::object_t&>())
        visit(entry);
  };
  each_member("providers", [&](json& provider) { absolute(&provider, {"script"}); });
  each_member("tools", [&](json& tool) {
    absolute(&tool, {"root"});
    absolute(member(tool, "sandbox"), {"read", "write"});
  });
  absolute(member(document, "journal"), {"path"});
  for (const auto* section : {"node", "api"})
    if (auto* found = member(document, section))
      absolute(member(*found, "tls"), {"cert", "key", "ca"});
}

class inclusion {
public:
  inclusion(const file_access& files, problem_list& problems) : files_(files), problems_(problems) {}

  located_document run(const std::string& path) {
    merged_.files.clear();
    main_folder_ = absolute(path).parent_path();
    visit(path, {}, 0);
    return std::move(merged_);
  }

private:
  struct asked_from {
    std::string file;
    position at;
    std::string pointer;
  };

  static fs::path absolute(const std::string& path) {
    std::error_code ignored;
    const auto made = fs::absolute(path, ignored);
    return (ignored ? fs::path(path) : made).lexically_normal();
  }

  void wrong(const asked_from& from, std::string message) {
    problems_.add({from.file, from.at.line, from.at.column, from.pointer, std::move(message)});
  }

  void visit(const std::string& path, const asked_from& from, std::size_t level) {
    const auto identity = absolute(path).string();
    const bool first = merged_.files.empty();
    const auto asked = first ? asked_from{path, {}, ""} : from;
    if (open_.count(identity) > 0)
      return wrong(asked, in_quotes(path) + " includes itself; an include cannot go in a circle");
    if (!seen_.insert(identity).second)
      return;
    if (level > most_levels)
      return wrong(asked, "includes go deeper than " + std::to_string(most_levels) + " levels");
    if (seen_.size() > most_files)
      return wrong(asked, "more than " + std::to_string(most_files) + " files are included");
    const auto bytes = files_.read(path, read_limits{}.bytes);
    if (!bytes)
      return wrong(asked, first ? bytes.error().message : in_quotes(path) + " " + bytes.error().message);
    bytes_ += bytes->size();
    if (bytes_ > most_bytes)
      return wrong(asked, "the files are larger than " + std::to_string(most_bytes >> 20) + " MiB together");
    const auto number = static_cast<std::uint32_t>(merged_.files.size());
    merged_.files.push_back(path);
    read_limits limits;
    limits.before = read_;
    auto document = read_text(*bytes, path, problems_, format_of(path), limits);
    read_.nodes += document.size.nodes;
    read_.bytes += document.size.bytes;
    if (!document.value.is_object()) {
      if (first) {
        merged_.value = std::move(document.value);
        merged_.root = std::move(document.root);
      } else if (!document.value.is_null()) {
        problems_.add({path, 1, 1, "", "an included file is a mapping of sections"});
      }
      return;
    }
    set_file(document.root, number);
    open_.insert(identity);
    const auto includes = wanted(document, path);
    if (absolute(path).parent_path() != main_folder_)
      make_paths_absolute(document.value, absolute(path).parent_path());
    merge(std::move(document), first);
    for (const auto& [target, at] : includes)
      if (seen_.size() <= most_files)
        visit(target, at, level + 1);
    open_.erase(identity);
  }

  /// The files of `include`, which is taken out of the document.
  std::vector<std::pair<std::string, asked_from>> wanted(located_document& document, const std::string& path) {
    std::vector<std::pair<std::string, asked_from>> out;
    const auto found = document.value.find("include");
    if (found == document.value.end())
      return out;
    const auto* where = document.root.member("include");
    if (!found->is_array())
      problems_.add({path, where->value.line, where->value.column, "/include", "a list of files belongs here, as in [tools/common.yaml]"});
    for (std::size_t i = 0; found->is_array() && i < found->size(); ++i) {
      const auto& each = (*found)[i];
      const asked_from at{path, where->children[i].value, child_of("/include", i)};
      if (!each.is_string() || each.get_ref<const std::string&>().empty())
        wrong(at, "the name of a file belongs here");
      else
        out.emplace_back((fs::path(path).parent_path() / each.get_ref<const std::string&>()).lexically_normal().string(), at);
    }
    document.value.erase(found);
    auto& children = document.root.children;
    children.erase(children.begin() + (where - children.data()));
    return out;
  }

  void merge(located_document from, bool first) {
    if (first) {
      merged_.value = std::move(from.value);
      merged_.root = std::move(from.root);
      return;
    }
    std::vector<place> new_sections;
    for (auto& section : from.root.children) {
      auto& value = from.value[section.name];
      const auto known = merged_.value.find(section.name);
      if (known == merged_.value.end()) {
        merged_.value[section.name] = std::move(value);
        new_sections.push_back(std::move(section));
        continue;
      }
      if (section.name == "version" && value == *known)
        continue;
      const auto pointer = child_of("", section.name);
      auto& into = *find(merged_.root, section.name);
      if (!known->is_object() || !value.is_object()) {
        twice(section, into, pointer);
        continue;
      }
      std::vector<place> new_entries;
      for (auto& entry : section.children) {
        if (const auto earlier = known->find(entry.name); earlier != known->end()) {
          twice(entry, *find(into, entry.name), child_of(pointer, entry.name));
        } else {
          (*known)[entry.name] = std::move(value[entry.name]);
          new_entries.push_back(std::move(entry));
        }
      }
      add_children(into, std::move(new_entries));
    }
    add_children(merged_.root, std::move(new_sections));
  }

  void twice(const place& later, const place& earlier, const std::string& pointer) {
    problems_.add({merged_.files[later.file], later.key.line, later.key.column, pointer,
                   "defined twice; the other place is " + merged_.files[earlier.file] + ":" + std::to_string(earlier.key.line) + ":"
                       + std::to_string(earlier.key.column)});
  }

  static bool by_name(const place& a, const place& b) { return a.name < b.name; }
  static place* find(place& parent, const std::string& name) {
    place wanted;
    wanted.name = name;
    return &*std::lower_bound(parent.children.begin(), parent.children.end(), wanted, by_name);
  }
  /// Both are in order.
  static void add_children(place& parent, std::vector<place> added) {
    auto& all = parent.children;
    const auto before = static_cast<std::ptrdiff_t>(all.size());
    std::move(added.begin(), added.end(), std::back_inserter(all));
    std::inplace_merge(all.begin(), all.begin() + before, all.end(), by_name);
  }

  const file_access& files_;
  problem_list& problems_;
  located_document merged_;
  fs::path main_folder_;
  std::set<std::string> seen_;
  std::set<std::string> open_;
  std::size_t bytes_ = 0;
  document_size read_;
};

} // namespace

located_document read_with_includes(const std::string& path, const file_access& files, problem_list& problems) {
  auto document = inclusion(files, problems).run(path);
  if (document.files.empty())
    document.files.push_back(path);
  return document;
}

} // namespace troupe::config
