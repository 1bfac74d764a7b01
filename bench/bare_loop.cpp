// The limit beside which `bench_runs` stands: the same run (LLM call, local tool call, LLM call) as a plain loop, one thread, libcurl's
// multi interface and nlohmann_json, without supervision, budgets, retries or events. With a JOURNAL it stores each answer in SQLite
// before it goes on, committed by a second thread as soon as the last commit has ended, fully synchronous.
//
//   bench_bare_loop URL IN_FLIGHT RUNS [JOURNAL]         URL as http://127.0.0.1:8089/v1
//
// Prints: runs a second, this process's CPU for a run (µs), peak memory (MB).

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <curl/curl.h>
#include <nlohmann/json.hpp>
#include <sqlite3.h>

#include "usage.hpp"

namespace {

using nlohmann::json;
using clock_type = std::chrono::steady_clock;

/// Rows that gather while a commit is under way are the next commit.
class group_journal {
public:
  group_journal(const std::string& path, std::function<void()> wake) : wake_(std::move(wake)) {
    if (sqlite3_open(path.c_str(), &db_) != SQLITE_OK)
      std::abort();
    run("pragma journal_mode=wal");
    run("pragma synchronous=full");
    run("create table if not exists rows(run integer, seq integer, body blob, primary key(run, seq)) without rowid");
    sqlite3_prepare_v2(db_, "insert into rows values(?,?,?)", -1, &insert_, nullptr);
    thread_ = std::thread([this] { write(); });
  }
  ~group_journal() {
    {
      std::lock_guard guard(mutex_);
      stop_ = true;
    }
    changed_.notify_one();
    thread_.join();
    sqlite3_finalize(insert_);
    sqlite3_close(db_);
  }

  void append(int run, int seq, std::string body, std::size_t waiter) {
    {
      std::lock_guard guard(mutex_);
      open_.push_back({run, seq, std::move(body), waiter});
    }
    changed_.notify_one();
  }
  std::vector<std::size_t> take_durable() {
    std::lock_guard guard(mutex_);
    return std::exchange(durable_, {});
  }

private:
  struct row {
    int run, seq;
    std::string body;
    std::size_t waiter;
  };

  void run(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
      std::abort();
  }
  void write() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return stop_ || !open_.empty(); });
      if (open_.empty())
        return;
      const auto group = std::exchange(open_, {});
      lock.unlock();
      run("begin");
      for (const auto& each : group) {
        sqlite3_bind_int(insert_, 1, each.run);
        sqlite3_bind_int(insert_, 2, each.seq);
        sqlite3_bind_blob(insert_, 3, each.body.data(), static_cast<int>(each.body.size()), SQLITE_STATIC);
        if (sqlite3_step(insert_) != SQLITE_DONE)
          std::abort();
        sqlite3_reset(insert_);
      }
      run("commit");
      lock.lock();
      for (const auto& each : group)
        durable_.push_back(each.waiter);
      wake_();
    }
  }

  std::function<void()> wake_;
  sqlite3* db_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<row> open_;
  std::vector<std::size_t> durable_;
  bool stop_ = false;
  std::thread thread_;
};

/// One place in the loop: a run after another.
struct slot {
  CURL* easy = nullptr;
  std::string body, answer;
  json messages;
  int run = 0;
  int step = 0; ///< answers so far
};

std::size_t take(char* data, std::size_t size, std::size_t count, void* to) {
  static_cast<std::string*>(to)->append(data, size * count);
  return size * count;
}

const json tools = json::parse(R"([{"type":"function","function":{"name":"calculator","description":"Arithmetic",
  "parameters":{"type":"object","required":["expression"],"properties":{"expression":{"type":"string"}}}}}])");

class loop {
public:
  loop(std::string url, int in_flight, int runs, const char* journal) : url_(std::move(url)), runs_(runs) {
    multi_ = curl_multi_init();
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, 2048L);
    headers_ = curl_slist_append(nullptr, "Content-Type: application/json");
    headers_ = curl_slist_append(headers_, "Authorization: Bearer key");
    headers_ = curl_slist_append(headers_, "Expect:");
    if (journal)
      journal_ = std::make_unique<group_journal>(journal, [this] { curl_multi_wakeup(multi_); });
    for (int i = 0; i < in_flight; ++i) {
      auto& made = *slots_.emplace_back(std::make_unique<slot>());
      made.easy = curl_easy_init();
      curl_easy_setopt(made.easy, CURLOPT_URL, url_.c_str());
      curl_easy_setopt(made.easy, CURLOPT_HTTPHEADER, headers_);
      curl_easy_setopt(made.easy, CURLOPT_WRITEFUNCTION, take);
      curl_easy_setopt(made.easy, CURLOPT_WRITEDATA, &made.answer);
      curl_easy_setopt(made.easy, CURLOPT_PRIVATE, reinterpret_cast<void*>(static_cast<std::intptr_t>(i)));
      curl_easy_setopt(made.easy, CURLOPT_NOSIGNAL, 1L);
      begin(made);
    }
  }

  void work() {
    while (live_ > 0) {
      int running = 0;
      curl_multi_perform(multi_, &running);
      int left = 0;
      bool progress = false;
      while (CURLMsg* message = curl_multi_info_read(multi_, &left))
        if (message->msg == CURLMSG_DONE) {
          progress = true;
          void* which = nullptr;
          curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &which);
          long status = 0;
          curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
          const auto result = message->data.result;
          curl_multi_remove_handle(multi_, message->easy_handle);
          if (result != CURLE_OK || status != 200) {
            std::fprintf(stderr, "a request failed: %s, status %ld\n", curl_easy_strerror(result), status);
            std::exit(1);
          }
          const auto place = static_cast<std::size_t>(reinterpret_cast<std::intptr_t>(which));
          if (journal_)
            journal_->append(slots_[place]->run, slots_[place]->step, slots_[place]->answer, place);
          else
            go_on(*slots_[place]);
        }
      if (journal_)
        for (const auto place : journal_->take_durable()) {
          progress = true;
          go_on(*slots_[place]);
        }
      if (!progress)
        curl_multi_poll(multi_, nullptr, 0, 1000, nullptr);
    }
  }
  long tools_run() const { return tools_run_; }

private:
  void begin(slot& at) {
    if (started_ == runs_)
      return;
    at.run = ++started_;
    at.step = 0;
    ++live_;
    at.messages = json::array({{{"role", "system"}, {"content", "You work out what you are asked, with your tools."}},
                               {{"role", "user"}, {"content", "What is 6 times 7, and why?"}}});
    send(at);
  }
  void send(slot& at) {
    at.answer.clear();
    at.body = json{{"model", "bench"}, {"messages", at.messages}, {"tools", tools}, {"max_tokens", 512}}.dump();
    curl_easy_setopt(at.easy, CURLOPT_POSTFIELDS, at.body.data());
    curl_easy_setopt(at.easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(at.body.size()));
    curl_multi_add_handle(multi_, at.easy);
  }
  void go_on(slot& at) {
    auto answer = json::parse(at.answer);
    auto& message = answer["choices"][0]["message"];
    if (++at.step == 2) {
      if (message["content"].get<std::string>().empty())
        std::abort();
      --live_;
      begin(at);
      return;
    }
    const auto id = message["tool_calls"][0]["id"].get<std::string>();
    const auto arguments = json::parse(message["tool_calls"][0]["function"]["arguments"].get<std::string>());
    int left = 0, right = 0;
    std::sscanf(arguments["expression"].get<std::string>().c_str(), "%d * %d", &left, &right);
    ++tools_run_;
    at.messages.push_back(std::move(message));
    at.messages.push_back({{"role", "tool"}, {"tool_call_id", id}, {"content", std::to_string(left * right)}});
    send(at);
  }

  std::string url_;
  CURLM* multi_ = nullptr;
  curl_slist* headers_ = nullptr;
  std::unique_ptr<group_journal> journal_;
  std::vector<std::unique_ptr<slot>> slots_;
  int runs_ = 0, started_ = 0, live_ = 0;
  long tools_run_ = 0;
};

} // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: bench_bare_loop URL IN_FLIGHT RUNS [JOURNAL]\n");
    return 2;
  }
  curl_global_init(CURL_GLOBAL_ALL);
  const int runs = std::atoi(argv[3]);
  loop work(std::string(argv[1]) + "/chat/completions", std::atoi(argv[2]), runs, argc > 4 ? argv[4] : nullptr);
  const auto start = clock_type::now();
  const auto cpu = bench::cpu_seconds();
  work.work();
  const auto wall = std::chrono::duration<double>(clock_type::now() - start).count();
  if (work.tools_run() != runs)
    return 1;
  std::printf("%.0f %.1f %.1f\n", runs / wall, (bench::cpu_seconds() - cpu) * 1e6 / runs, bench::peak_memory_mb());
}
