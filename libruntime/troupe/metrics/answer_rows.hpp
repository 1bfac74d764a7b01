#pragma once
// Who answered what, of one task that several agents do: rows of the result document, from the events of its members.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/model/run.hpp"

namespace troupe::metrics {

/// The member of a top-level task, or of an element of one ("check(sceptic)", "sections[2](a)"), also of what is below it
/// ("check(sceptic)/review"); empty: the path is no such one.
std::string_view top_seat(std::string_view path);

class answer_rows {
public:
  /// Made where there is none yet.
  answer_result& row(std::string_view seat, const std::string& agent);
  /// A further attempt starts without the answers of the one before; what they cost stays.
  void started(std::string_view seat, const std::string& agent, std::int64_t attempt);
  void ended(std::string_view seat, const std::string& agent, const task_finished& end);
  void resolved(const answers_resolved& event);
  bool decided() const { return resolution_.has_value(); }
  /// Those that have ended, members before who decided between them; an arbiter is a row too.
  void into(std::vector<answer_result>& answers, std::optional<resolution_result>& resolution) const;

private:
  struct seat_row {
    answer_result row;
    bool ended = false;
  };
  seat_row& find(std::string_view seat, const std::string& agent);

  std::vector<seat_row> rows_;
  std::optional<resolution_result> resolution_;
  std::int64_t attempt_ = 1;
};

/// The two keys that a row of the result document gains.
void add_answers(json& row, const std::vector<answer_result>& answers, const std::optional<resolution_result>& resolution);

} // namespace troupe::metrics
