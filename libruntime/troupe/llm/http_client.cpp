#include "troupe/llm/http_client.hpp"

#include <algorithm>
#include <csignal>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <unordered_map>
#include <utility>

#include <pthread.h>

#include <curl/curl.h>

#include "troupe/llm/http_transfer.hpp"
#include "troupe/llm/multi_loop.hpp"
#include "troupe/util/batch.hpp"

namespace troupe::llm {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// CURLE_TOO_LARGE, since libcurl 8.6; before that, it calls it a lack of memory.
constexpr int curl_too_large = 100;

const char* name_of(http_error kind) {
  switch (kind) {
  case http_error::none:
    return "none";
  case http_error::invalid_request:
    return "invalid_request";
  case http_error::not_connected:
    return "not_connected";
  case http_error::refused:
    return "refused";
  case http_error::timed_out:
    return "timed_out";
  case http_error::broken:
    return "broken";
  case http_error::too_large:
    return "too_large";
  case http_error::stopped:
    return "stopped";
  case http_error::cancelled:
    return "cancelled";
  }
  return "?";
}

void http_headers::add(std::string_view name, std::string_view value) {
  fields_.emplace_back(lower_case(name), value);
}

const std::string* http_headers::find(std::string_view name) const {
  for (const auto& [key, value] : fields_)
    if (key == name)
      return &value;
  return nullptr;
}

/// One thread and its loop. The queue is swapped out under a short lock; the thread is woken only where it may be asleep.
class http_client::shard {
public:
  explicit shard(const http_client_options& options) : options_(options) {
    thread_ = std::thread([this] { run(); });
  }

  ~shard() {
    close();
    for (CURL* easy : idle_)
      curl_easy_cleanup(easy);
  }

  /// Answers everything as cancelled and joins; what is submitted from now on is answered at once.
  void close() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    loop_.wake();
    if (thread_.joinable())
      thread_.join();
  }

  std::size_t in_flight() const { return in_flight_.load(std::memory_order_relaxed); }

  void submit(std::unique_ptr<transfer> t) {
    in_flight_.fetch_add(1, std::memory_order_relaxed);
    if (!push({t->id, std::move(t)}, t))
      deliver(*t, http_error::cancelled, "the HTTP client is shutting down");
  }

  void cancel(http_id id) {
    std::unique_ptr<transfer> none;
    push({id, nullptr}, none);
  }

private:
  struct command {
    http_id id = 0;
    std::unique_ptr<transfer> start; // null: cancel
  };

  /// False when closing: the transfer is given back.
  bool push(command what, std::unique_ptr<transfer>& back) {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      if (closing_) {
        back = std::move(what.start);
        return false;
      }
      queue_.push_back(std::move(what));
      wake = std::exchange(sleeping_, false);
    }
    if (wake)
      loop_.wake();
    return true;
  }

  void run() noexcept {
    pthread_setname_np(pthread_self(), "troupe-http");
    sigset_t all;
    sigfillset(&all); // SIGPIPE of a TLS write above all; the others belong to the program's own threads
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::vector<command> taken;
    while (take(taken)) {
      {
        const batch round; // whoever waits for several of them is woken once
        for (auto& what : taken)
          obey(what);
        taken.clear();
        loop_.work();
        finish_completed();
      }
      bool may_sleep = false;
      {
        const std::lock_guard lock(mutex_);
        may_sleep = sleeping_ = queue_.empty() && !closing_;
      }
      loop_.wait(may_sleep); // a finished transfer may have freed what another one waits for: something is due at once then
    }
    for (auto& what : taken)
      if (what.start)
        deliver(*what.start, http_error::cancelled, "the HTTP client is shutting down");
    while (!running_.empty())
      end(running_.begin()->first, http_error::cancelled, "the HTTP client is shutting down");
  }

  /// Swaps the queue out; false when closing.
  bool take(std::vector<command>& into) {
    const std::lock_guard lock(mutex_);
    sleeping_ = false;
    into.swap(queue_);
    return !closing_;
  }

  void obey(command& what) {
    if (!what.start) {
      end(what.id, http_error::cancelled, "cancelled");
      return;
    }
    auto& t = *what.start;
    t.loop = &loop_;
    t.deadline = clock::now() + std::min(t.request.timeout, milliseconds(std::chrono::hours(24 * 365)));
    if (auto problem = problem_of(t.request); !problem.empty()) {
      deliver(t, http_error::invalid_request, problem);
    } else if (t.request.timeout <= milliseconds(0)) {
      deliver(t, http_error::timed_out, "no time was left to send the request");
    } else {
      if (idle_.empty()) {
        t.easy = curl_easy_init();
        if (!t.easy) {
          deliver(t, http_error::not_connected, "libcurl has no memory for another transfer");
          return;
        }
      } else {
        t.easy = idle_.back();
        idle_.pop_back();
      }
      const auto id = t.id;
      running_.emplace(id, std::move(what.start));
      begin(t);
    }
  }

  /// Starts a hop of a transfer that is in `running_`.
  void begin(transfer& t) {
    const auto left = std::chrono::ceil<milliseconds>(t.deadline - clock::now());
    if (left <= milliseconds(0)) {
      end(t.id, http_error::timed_out, "the time was used up by redirects");
      return;
    }
    prepare(t, options_, left);
    if (t.request.max_redirects == 0) { // libcurl has its own copies; `= {}` would keep the memory
      std::exchange(t.request.headers, {});
      std::exchange(t.request.url, {});
    }
    keep_connections();
    if (curl_multi_add_handle(loop_.handle(), t.easy) != CURLM_OK)
      end(t.id, http_error::not_connected, "libcurl refused another transfer");
  }

  /// libcurl's limit counts those in use too: with more of them than may be idle it would close each one after its request.
  void keep_connections() {
    curl_multi_setopt(loop_.handle(), CURLMOPT_MAXCONNECTS, static_cast<long>(running_.size() + options_.idle_connections));
  }

  void finish_completed() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(loop_.handle(), &left)) {
      if (message->msg != CURLMSG_DONE)
        continue;
      char* user = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &user);
      completed(*reinterpret_cast<transfer*>(user), message->data.result);
    }
  }

  void completed(transfer& t, CURLcode code) {
    long connects = 0;
    curl_easy_getinfo(t.easy, CURLINFO_NUM_CONNECTS, &connects);
    t.result.connection_reused = t.result.connection_made && connects == 0;
    if (code == CURLE_OK && t.will_follow()) {
      follow(t);
      return;
    }
    if (code == CURLE_OK) {
      end(t.id, http_error::none, {});
      return;
    }
    std::string words = t.words[0] ? t.words.data() : curl_easy_strerror(code);
    if (t.entries > 1)
      words = "the kept connection ended without an answer; the request was not sent again";
    else if (t.verdict == http_error::too_large)
      words = t.body_started ? "the response is larger than " + std::to_string(t.request.max_response_bytes) + " bytes"
                             : "the response has more than 256 KiB of headers";
    else if (t.result.status > 0 && !t.body_started && (code == CURLE_OUT_OF_MEMORY || static_cast<int>(code) == curl_too_large)) {
      t.verdict = http_error::too_large;
      words = "the response has a header of more than 100 KiB, which libcurl does not take";
    } else if (t.verdict == http_error::stopped)
      words = "the receiver wanted no more";
    else if (t.address_refused)
      words = "the address that the host resolves to is not allowed";
    end(t.id, error_of(t, code), std::move(words));
  }

  static http_error error_of(const transfer& t, CURLcode code) {
    if (t.verdict)
      return *t.verdict;
    // libcurl counts whole milliseconds, and may be a little early.
    if (code == CURLE_OPERATION_TIMEDOUT)
      return t.result.request_sent || clock::now() + milliseconds(5) >= t.deadline ? http_error::timed_out : http_error::not_connected;
    if (t.entries > 0)
      return http_error::broken;
    if (t.address_refused)
      return http_error::refused;
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
      return http_error::invalid_request;
    return http_error::not_connected;
  }

  void follow(transfer& t) {
    char* location = nullptr;
    curl_easy_getinfo(t.easy, CURLINFO_REDIRECT_URL, &location);
    std::string url = location ? location : "";
    if (url.empty()) {
      end(t.id, http_error::broken, "the redirect's Location does not parse");
      return;
    }
    curl_multi_remove_handle(loop_.handle(), t.easy);
    auto& request = t.request;
    if (request.on_redirect && !request.on_redirect(url)) {
      end(t.id, http_error::refused, "the redirect leads to a place that is not allowed");
      return;
    }
    if (origin_of(url) != origin_of(request.url))
      t.drop_credentials = true;
    const int status = t.result.status; // RFC 9110, 15.4: of 301 and 302, only a POST may become a GET
    if (status == 303 ? request.method != "HEAD" : status <= 302 && request.method == "POST") {
      request.method = "GET";
      request.body.clear();
      std::erase_if(request.headers, [](const auto& field) { return lower_case(field.first).rfind("content-", 0) == 0; });
    }
    ++t.hops;
    request.url = std::move(url);
    t.result = http_result{};
    t.result.final_url = request.url;
    begin(t);
  }

  /// Takes a running transfer off the multi handle and answers it. Unknown ids are ignored.
  void end(http_id id, http_error error, std::string words) {
    auto node = running_.extract(id);
    if (node.empty())
      return;
    auto t = std::move(node.mapped());
    if (t->easy) {
      curl_multi_remove_handle(loop_.handle(), t->easy);
      curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, nullptr);
      idle_.push_back(t->easy);
      keep_connections();
    }
    deliver(*t, error, std::move(words));
  }

  void deliver(transfer& t, http_error error, std::string words) noexcept {
    t.result.error = error;
    t.result.message = std::move(words);
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
    if (t.request.on_done)
      t.request.on_done(std::move(t.result));
  }

  http_client_options options_;
  multi_loop loop_;
  std::vector<CURL*> idle_;
  std::unordered_map<http_id, std::unique_ptr<transfer>> running_;
  std::atomic<std::size_t> in_flight_{0};

  std::mutex mutex_;
  std::vector<command> queue_;
  bool sleeping_ = false;
  bool closing_ = false;
  std::thread thread_; // last: it uses all the others
};

http_client::http_client(const http_client_options& options) : shard_fill_(std::max<std::size_t>(1, options.shard_fill)) {
  static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (once != CURLE_OK)
    throw std::runtime_error(std::string("libcurl does not start: ") + curl_easy_strerror(once));
  const auto count = std::clamp<std::size_t>(options.shards, 1, 64);
  for (std::size_t i = 0; i < count; ++i)
    shards_.push_back(std::make_unique<shard>(options));
}

http_client::~http_client() {
  for (const auto& each : shards_) // all of them before any is gone: callbacks may still submit to the others
    each->close();
}

http_id http_client::submit(http_request request) {
  std::size_t chosen = 0;
  std::size_t least = shards_[0]->in_flight();
  for (std::size_t i = 1; i < shards_.size() && least >= shard_fill_; ++i) {
    if (const auto load = shards_[i]->in_flight(); load < least) {
      least = load;
      chosen = i;
    }
  }
  auto t = std::make_unique<transfer>();
  t->id = (next_.fetch_add(1, std::memory_order_relaxed) << 6) | chosen;
  t->request = std::move(request);
  const auto id = t->id;
  shards_[chosen]->submit(std::move(t));
  return id;
}

void http_client::cancel(http_id id) {
  const auto index = static_cast<std::size_t>(id & 63);
  if (index < shards_.size())
    shards_[index]->cancel(id);
}

std::size_t http_client::in_flight() const {
  std::size_t sum = 0;
  for (const auto& each : shards_)
    sum += each->in_flight();
  return sum;
}

} // namespace troupe::llm
