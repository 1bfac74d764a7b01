#pragma once
// The declarations of an agent's tools are the same at each step: they are written once.

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "troupe/model/llm.hpp"

namespace troupe::llm {

/// What a tool takes, as both APIs want it said: an object's schema that names its type and its properties, where the file or an MCP server
/// leaves them out. OpenAI's refuses the whole request else ("object schema missing properties").
std::string parameters_text(const json& parameters);

/// Keeps the text that `write` made of a list of declarations for as long as somebody holds that list. Any thread.
class tool_texts {
public:
  using writer = std::function<std::string(const std::vector<tool_declaration>&)>;
  explicit tool_texts(writer write) : write_(std::move(write)) {}

  /// Null for no tools.
  std::shared_ptr<const std::string> of(const tool_declarations& tools) const;

private:
  struct entry {
    std::weak_ptr<const std::vector<tool_declaration>> tools;
    std::shared_ptr<const std::string> text;
  };
  writer write_;
  mutable std::mutex mutex_;
  mutable std::vector<entry> entries_; // few: one a distinct set of tools that is alive
};

} // namespace troupe::llm
