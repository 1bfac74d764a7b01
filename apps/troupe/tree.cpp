#include "tree.hpp"

#include "timeline.hpp"
#include "troupe/model/described.hpp"

namespace troupe::cli {

namespace {

std::string time_text(milliseconds time) {
  const auto count = time.count();
  return count % 1'000 == 0 ? std::to_string(count / 1'000) + "s" : std::to_string(count) + "ms";
}

std::string words_of(const supervisor_spec& supervisor) {
  auto text = printable(supervisor.name, 60) + "  supervisor, " + name_of(supervisor.strategy) + ", at most "
              + std::to_string(supervisor.max_restarts) + " restarts within " + time_text(supervisor.within);
  if (supervisor.auto_shutdown != auto_shutdown_type::never)
    text += std::string(", auto_shutdown ") + name_of(supervisor.auto_shutdown);
  return text;
}

std::string words_of(const child_spec& child, const configuration& config) {
  auto text =
      printable(child.id, 60) + (child.size > 1 || child.kind == child_kind::pool ? "  pool of " + std::to_string(child.size) : "  agent");
  text += std::string(", ") + name_of(child.restart);
  if (child.shutdown.brutal_kill)
    text += ", brutal_kill";
  if (child.significant)
    text += ", significant";
  if (const auto agent = config.agents.find(child.id); agent != config.agents.end()) {
    text += ", model " + printable(agent->second.model, 40);
    const auto list = [&](const char* words, const std::vector<std::string>& names) {
      if (!names.empty())
        text += words;
      for (const auto& name : names)
        text += " " + printable(name, 40);
    };
    list(", tools", agent->second.tools);
    list(", asks", agent->second.delegates);
    list(", hands on to", agent->second.handoffs);
  }
  return text;
}

void draw(const supervisor_spec& supervisor, const configuration& config, const std::string& indent, std::string& out) {
  for (std::size_t i = 0; i < supervisor.children.size(); ++i) {
    const auto& child = supervisor.children[i];
    const bool last = i + 1 == supervisor.children.size();
    out += indent + (last ? "└── " : "├── ");
    if (child.kind != child_kind::supervisor) {
      out += words_of(child, config) + "\n";
      continue;
    }
    const auto& below = child.supervisor.front();
    out += words_of(below) + (child.restart == restart_type::permanent ? "" : std::string(", ") + name_of(child.restart)) + "\n";
    draw(below, config, indent + (last ? "    " : "│   "), out);
  }
}

} // namespace

std::string render_tree(const supervisor_spec& root, const configuration& config) {
  auto out = words_of(root) + "\n";
  draw(root, config, "", out);
  return out;
}

} // namespace troupe::cli
