#pragma once
// What the checks find: a pointer and words. Places in files are added by whoever knows the files.

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "troupe/config/problem.hpp"

namespace troupe::config {

struct issue {
  std::string pointer;
  std::string message;
  bool at_key = false; ///< the place meant is that of the key, not of its value: something is missing, or the name itself is wrong
};

/// Errors and warnings of one document, each bounded as a problem_list is. What the schema refused is not refused again for a
/// consequence.
class issue_list {
public:
  void error(issue found) {
    if (!schema_done_)
      told_.insert(found.pointer);
    else if (told_.count(found.pointer) > 0)
      return;
    keep(errors_, std::move(found));
  }
  /// No more are kept: whoever would look for more, or for words, need not.
  bool errors_full() const { return errors_.size() > problem_list::most; }
  bool warnings_full() const { return warnings_.size() > problem_list::most; }
  /// What the reader complained about already.
  void told_before(std::string pointer) { told_.insert(std::move(pointer)); }
  void warning(issue found) { keep(warnings_, std::move(found)); }
  /// From now on what has an error takes no further one.
  void schema_done() { schema_done_ = true; }
  bool has_error_below(std::string_view pointer) const {
    return std::any_of(errors_.begin(), errors_.end(),
                       [&](const issue& each) { return each.pointer.compare(0, pointer.size(), pointer) == 0; });
  }

  const std::vector<issue>& errors() const { return errors_; }
  const std::vector<issue>& warnings() const { return warnings_; }

private:
  // One more than is shown, so that whoever shows them sees that there are more.
  static void keep(std::vector<issue>& list, issue found) {
    if (list.size() <= problem_list::most)
      list.push_back(std::move(found));
  }

  std::vector<issue> errors_;
  std::vector<issue> warnings_;
  std::unordered_set<std::string> told_;
  bool schema_done_ = false;
};

} // namespace troupe::config
