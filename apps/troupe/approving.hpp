#pragma once
// Requests for approval as people see them, and the question on the terminal of the process that runs the run.

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "background_writer.hpp"
#include "troupe/model/event.hpp"
#include "troupe/policy/approval_requests.hpp"
#include "troupe/store/journal.hpp"

namespace troupe::cli {

/// What a request is about, for people: hostile text is escaped. What is decided about is there whole, each argument on a line of its own
/// where one of `width` columns does not hold them: nobody is to approve what cannot be seen. Of texts beyond some pages it says how much
/// is left out, and where that is.
std::vector<std::string> request_lines(const policy::approval_request& request, const std::string& task, const std::string& agent,
                                       std::int64_t now_us, std::size_t width);
/// How somebody decides who is not asked here.
std::string decide_hint(const policy::approval_request& request, const std::string& config);
/// What a decision led to.
std::string outcome_line(const policy::approval_request& request, bool owned);
/// Decided already, or too late: 1; what the user can mend: 2; else as for every error.
int status_of_decision(const error& problem);
/// The login name of whoever runs this process.
std::string user_name();

/// What one typed line says: a (approve), r [COMMENT] (reject), m JSON (modify). Nothing: it is none of these.
std::optional<policy::approval_decision> decision_in(const std::string& line, const std::string& reviewer);

/// Asks on the terminal, one request after the other, on a thread of its own; what is decided elsewhere meanwhile is not asked any more.
/// What was typed before a question stood there is no answer to it: nobody had seen the request. Where nobody can answer (the terminal is
/// gone, or another's while this process is in the background), it says how to decide elsewhere; after Ctrl-D, too, and asks once more, so
/// that nothing that is typed as an answer is left to the shell.
class terminal_desk {
public:
  /// `out`: where everything else is shown, too, so that nothing overtakes a question. `config`: for hints.
  terminal_desk(std::shared_ptr<store::journal> journal, std::shared_ptr<background_writer> out, std::string config);
  ~terminal_desk();
  terminal_desk(const terminal_desk&) = delete;
  terminal_desk& operator=(const terminal_desk&) = delete;

  void add(const approval_requested& what, const std::string& task, const std::string& agent);
  /// It is decided. Where its question stands, its line ends with how.
  void remove(const approval_decided& end);
  /// Nobody waits for it any more. Where its question stands, its line ends with that.
  /// `run_is_left`: it can be decided all the same, for whoever resumes the run.
  void withdraw(const approval_withdrawn& gone, bool run_is_left);
  /// Another reviewer has approved it, or changed it. Where its question stands, it is asked anew: it is not about the same any more.
  void renew(const approval_voted& vote);

private:
  struct waiting {
    approval_requested what;
    std::string task, agent;
  };
  enum class typed { line, changed, ended, closed };
  void loop();
  void poke();
  void ask(const waiting& one);
  bool prompt(const std::string& id);
  void answered();
  void forget(const std::string& id);
  void end(const std::string& id, const std::string& words);
  typed read_line(std::string& line);
  /// What it is about now; nullopt: it is decided.
  std::optional<policy::approval_request> look_up(const waiting& one) const;
  /// Whether it waits, and nobody has voted since it was shown.
  bool still_stands(const std::string& id);

  std::shared_ptr<store::journal> journal_;
  std::shared_ptr<background_writer> out_;
  const std::string config_;
  int poke_ = -1;    ///< eventfd: the list has changed, or it ends
  std::mutex mutex_; // guards what follows
  std::vector<waiting> waiting_;
  std::string standing_; ///< the request whose question is the last thing on the screen
  bool renewed_ = false; ///< what is shown of the one that is asked about is not how it stands
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace troupe::cli
