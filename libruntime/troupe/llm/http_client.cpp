#include "troupe/llm/http_client.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <csignal>
#include <cstring>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <unordered_map>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include <curl/curl.h>

namespace troupe::llm {

namespace {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t header_bytes_max = std::size_t{256} << 10;

struct slist_free {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using slist = std::unique_ptr<curl_slist, slist_free>;

struct url_free {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || (c != 0 && std::strchr("!#$%&'*+-.^_`|~", c));
  });
}

bool is_field_value(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

/// Fields that authenticate to one origin and must not follow a redirect to another.
bool is_credential(std::string_view lower_name) {
  return lower_name == "authorization" || lower_name == "cookie" || lower_name == "proxy-authorization" || lower_name == "x-api-key";
}

/// "https://host:443", or empty for what does not parse.
std::string origin_of(const std::string& url) {
  const std::unique_ptr<CURLU, url_free> parsed(curl_url());
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK)
    return {};
  std::string out;
  for (const CURLUPart part : {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT}) {
    char* text = nullptr;
    if (curl_url_get(parsed.get(), part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK)
      return {};
    out.append(lower(text)).push_back('|');
    curl_free(text);
  }
  return out;
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/// One request on its way: what libcurl's callbacks see.
struct transfer {
  http_id id = 0;
  http_request request;
  http_result result;
  CURL* easy = nullptr;
  slist headers;
  clock::time_point deadline;
  int hops = 0;
  int entries = 0;             // of the pre-request callback in this hop
  bool address_refused = false;
  bool body_started = false;
  bool drop_credentials = false;
  std::size_t header_bytes = 0;
  std::size_t body_bytes = 0;
  std::optional<http_error> verdict; // what our own callbacks decided
  std::array<char, CURL_ERROR_SIZE> words{};

  bool will_follow() const {
    return hops < request.max_redirects && is_redirect(result.status) && result.headers.find("location") != nullptr;
  }
};

std::size_t on_header(char* data, std::size_t, std::size_t size, void* user) noexcept {
  auto& t = *static_cast<transfer*>(user);
  std::string_view line(data, size);
  t.header_bytes += size;
  if (t.header_bytes > header_bytes_max) {
    t.verdict = http_error::too_large;
    return 0;
  }
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n'))
    line.remove_suffix(1);
  if (t.body_started) // trailers
    return size;
  if (line.rfind("HTTP/", 0) == 0) { // also after an interim 1xx response
    t.result.headers.clear();
    long status = 0;
    curl_easy_getinfo(t.easy, CURLINFO_RESPONSE_CODE, &status);
    t.result.status = static_cast<int>(status);
    return size;
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos)
    return size;
  auto value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
    value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t'))
    value.remove_suffix(1);
  t.result.headers.add(line.substr(0, colon), value);
  return size;
}

std::size_t on_body(char* data, std::size_t, std::size_t size, void* user) noexcept {
  auto& t = *static_cast<transfer*>(user);
  const bool first = !t.body_started;
  t.body_started = true;
  t.body_bytes += size;
  if (t.body_bytes > t.request.max_response_bytes) {
    t.verdict = http_error::too_large;
    return 0;
  }
  if (t.will_follow())
    return size;
  if (t.request.on_data) {
    if (t.request.on_data(t.result, std::string_view(data, size)))
      return size;
    t.verdict = http_error::stopped;
    return 0;
  }
  if (first) {
    curl_off_t length = -1;
    curl_easy_getinfo(t.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (length > 0) // a claim, so believed up to a bound only
      t.result.body.reserve(std::min<std::size_t>({static_cast<std::size_t>(length), t.request.max_response_bytes, std::size_t{1} << 20}));
  }
  t.result.body.append(data, size);
  return size;
}

/// Opens every socket: asks the filter, and lets no child process inherit it.
curl_socket_t open_socket(void* user, curlsocktype, curl_sockaddr* address) noexcept {
  auto& t = *static_cast<transfer*>(user);
  if (t.request.address_filter && !t.request.address_filter(&address->addr)) {
    t.address_refused = true;
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

bool filter_accepts(const transfer& t, const char* ip, int port) {
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET, ip, &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<std::uint16_t>(port));
    return t.request.address_filter(reinterpret_cast<const sockaddr*>(&v4));
  }
  if (inet_pton(AF_INET6, ip, &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(static_cast<std::uint16_t>(port));
    return t.request.address_filter(reinterpret_cast<const sockaddr*>(&v6));
  }
  return false;
}

/// Called on a connection that stands, right before the request is written to it. A second time in one hop means that libcurl found a
/// reused connection dead and is about to send the request again: the first copy may have been served, so that is not its decision.
int before_request(void* user, char* ip, char*, int port, int) noexcept {
  auto& t = *static_cast<transfer*>(user);
  t.result.connection_made = true;
  if (++t.entries > 1) {
    t.verdict = http_error::broken;
    return CURL_PREREQFUNC_ABORT;
  }
  if (t.request.address_filter && !filter_accepts(t, ip, port)) { // a reused connection passed no filter of this request
    t.address_refused = true;
    t.verdict = http_error::refused;
    return CURL_PREREQFUNC_ABORT;
  }
  t.result.request_sent = true;
  return CURL_PREREQFUNC_OK;
}

template <class T>
void set(CURL* easy, CURLoption option, T value) {
  if (curl_easy_setopt(easy, option, value) != CURLE_OK)
    throw std::bad_alloc(); // the options are known to this libcurl; what is left is memory
}

/// Empty: the request can be sent as it is.
std::string problem_of(const http_request& request) {
  if (!is_token(request.method))
    return "the method is not an HTTP token";
  for (const auto& [name, value] : request.headers) {
    if (!is_token(name))
      return "a header's name is not an HTTP token";
    if (!is_field_value(value))
      return "the header \"" + name + "\" has a line break in its value";
  }
  if (std::any_of(request.url.begin(), request.url.end(), [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; }))
    return "the URL has spaces or control characters";
  return {};
}

slist header_list(const transfer& t) {
  curl_slist* list = nullptr;
  const auto append = [&](const std::string& line) {
    curl_slist* longer = curl_slist_append(list, line.c_str());
    if (!longer) {
      curl_slist_free_all(list);
      throw std::bad_alloc();
    }
    list = longer;
  };
  bool has_type = false;
  std::string line;
  for (const auto& [name, value] : t.request.headers) {
    const auto lowered = lower(name);
    has_type = has_type || lowered == "content-type";
    if (t.drop_credentials && is_credential(lowered))
      continue;
    line.assign(name).append(value.empty() ? ";" : ": ").append(value);
    append(line);
  }
  append("Expect:"); // libcurl would wait a second for a 100 with bodies above 1 MiB
  if (!has_type)
    append("Content-Type:");
  return slist(list);
}

} // namespace

const char* name_of(http_error kind) {
  switch (kind) {
  case http_error::none: return "none";
  case http_error::invalid_request: return "invalid_request";
  case http_error::not_connected: return "not_connected";
  case http_error::refused: return "refused";
  case http_error::timed_out: return "timed_out";
  case http_error::broken: return "broken";
  case http_error::too_large: return "too_large";
  case http_error::stopped: return "stopped";
  case http_error::cancelled: return "cancelled";
  }
  return "?";
}

void http_headers::add(std::string_view name, std::string_view value) {
  fields_.emplace_back(lower(name), value);
}

const std::string* http_headers::find(std::string_view name) const {
  for (const auto& [key, value] : fields_)
    if (key == name)
      return &value;
  return nullptr;
}

/// One thread and its multi handle. The queue is swapped out under a short lock; the thread is woken only where it may be asleep.
class http_client::shard {
public:
  explicit shard(const http_client_options& options) : options_(options), multi_(curl_multi_init()) {
    if (!multi_)
      throw std::bad_alloc();
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(options.idle_connections));
    thread_ = std::thread([this] { run(); });
  }

  ~shard() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    curl_multi_wakeup(multi_);
    thread_.join();
    for (CURL* easy : idle_)
      curl_easy_cleanup(easy);
    curl_multi_cleanup(multi_);
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
      curl_multi_wakeup(multi_);
    return true;
  }

  void run() noexcept {
    pthread_setname_np(pthread_self(), "troupe-http");
    sigset_t all;
    sigfillset(&all); // SIGPIPE of a TLS write above all; the others belong to the program's own threads
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::vector<command> taken;
    while (take(taken)) {
      for (auto& what : taken)
        obey(what);
      taken.clear();
      int running = 0;
      curl_multi_perform(multi_, &running);
      // A finished transfer may have freed what another one waits for, and its callback may have submitted: look again before sleeping.
      if (finish_completed())
        continue;
      {
        const std::lock_guard lock(mutex_);
        sleeping_ = queue_.empty() && !closing_;
        if (!sleeping_)
          continue;
      }
      curl_multi_poll(multi_, nullptr, 0, 60'000, nullptr);
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
    const auto& request = t.request;
    const auto left = std::chrono::ceil<milliseconds>(t.deadline - clock::now());
    if (left <= milliseconds(0)) {
      end(t.id, http_error::timed_out, "the time was used up by redirects");
      return;
    }
    t.entries = 0;
    t.body_started = false;
    t.header_bytes = t.body_bytes = 0;
    t.address_refused = false;
    t.verdict.reset();
    CURL* easy = t.easy;
    curl_easy_reset(easy); // keeps the handle's memory; connections live in the multi handle
    const bool tls = request.url.size() > 5 && lower(std::string_view(request.url).substr(0, 6)) == "https:";
    set(easy, CURLOPT_URL, request.url.c_str());
    set(easy, CURLOPT_PRIVATE, static_cast<void*>(&t));
    set(easy, CURLOPT_ERRORBUFFER, t.words.data());
    set(easy, CURLOPT_NOSIGNAL, 1L);
    set(easy, CURLOPT_QUICK_EXIT, 1L); // a time-out does not wait for the resolver's thread
    set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    set(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(left.count()));
    set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(std::max<std::int64_t>(1, request.connect_timeout.count())));
    set(easy, CURLOPT_PROXY, request.proxy.c_str()); // "" also switches the environment's off
    set(easy, CURLOPT_NOPROXY, "");
    set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set(easy, CURLOPT_USERAGENT, options_.user_agent.c_str());
    set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    // Only TLS negotiates HTTP/2; waiting for a connection's protocol makes sense there only.
    set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    if (tls)
      set(easy, CURLOPT_PIPEWAIT, 1L);
    if (!options_.ca_file.empty())
      set(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
    set(easy, CURLOPT_OPENSOCKETFUNCTION, &open_socket);
    set(easy, CURLOPT_OPENSOCKETDATA, static_cast<void*>(&t));
    set(easy, CURLOPT_PREREQFUNCTION, &before_request);
    set(easy, CURLOPT_PREREQDATA, static_cast<void*>(&t));
    set(easy, CURLOPT_HEADERFUNCTION, &on_header);
    set(easy, CURLOPT_HEADERDATA, static_cast<void*>(&t));
    set(easy, CURLOPT_WRITEFUNCTION, &on_body);
    set(easy, CURLOPT_WRITEDATA, static_cast<void*>(&t));
    if (request.method == "HEAD") {
      set(easy, CURLOPT_NOBODY, 1L);
    } else if (request.method == "POST" || !request.body.empty()) {
      set(easy, CURLOPT_POST, 1L);
      set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      set(easy, CURLOPT_POSTFIELDS, request.body.data()); // not copied: it lives as long as the transfer
      if (request.method != "POST")
        set(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    } else if (request.method != "GET") {
      set(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
    t.headers = header_list(t);
    set(easy, CURLOPT_HTTPHEADER, t.headers.get());
    if (curl_multi_add_handle(multi_, easy) != CURLM_OK)
      end(t.id, http_error::not_connected, "libcurl refused another transfer");
  }

  /// Answers whether any transfer had completed.
  bool finish_completed() {
    bool any = false;
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE)
        continue;
      any = true;
      char* user = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &user);
      completed(*reinterpret_cast<transfer*>(user), message->data.result);
    }
    return any;
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
    else if (t.verdict == http_error::stopped)
      words = "the receiver wanted no more";
    else if (t.address_refused)
      words = "the address that the host resolves to is not allowed";
    end(t.id, error_of(t, code), std::move(words));
  }

  static http_error error_of(const transfer& t, CURLcode code) {
    if (t.verdict)
      return *t.verdict;
    if (code == CURLE_OPERATION_TIMEDOUT)
      return t.result.request_sent || clock::now() >= t.deadline ? http_error::timed_out : http_error::not_connected;
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
    curl_multi_remove_handle(multi_, t.easy);
    auto& request = t.request;
    if (request.on_redirect && !request.on_redirect(url)) {
      end(t.id, http_error::refused, "the redirect leads to a place that is not allowed");
      return;
    }
    if (origin_of(url) != origin_of(request.url))
      t.drop_credentials = true;
    const int status = t.result.status;
    if (status != 307 && status != 308 && request.method != "GET" && request.method != "HEAD") {
      request.method = "GET";
      request.body.clear();
      std::erase_if(request.headers, [](const auto& field) { return lower(field.first).rfind("content-", 0) == 0; });
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
      curl_multi_remove_handle(multi_, t->easy);
      curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, nullptr);
      idle_.push_back(t->easy);
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
  CURLM* multi_;
  std::vector<CURL*> idle_;
  std::unordered_map<http_id, std::unique_ptr<transfer>> running_;
  std::atomic<std::size_t> in_flight_{0};

  std::mutex mutex_;
  std::vector<command> queue_;
  bool sleeping_ = false;
  bool closing_ = false;
  std::thread thread_; // last: it uses all the others
};

http_client::http_client(http_client_options options) : shard_fill_(std::max<std::size_t>(1, options.shard_fill)) {
  static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (once != CURLE_OK)
    throw std::runtime_error(std::string("libcurl does not start: ") + curl_easy_strerror(once));
  const auto count = std::clamp<std::size_t>(options.shards, 1, 64);
  for (std::size_t i = 0; i < count; ++i)
    shards_.push_back(std::make_unique<shard>(options));
}

http_client::~http_client() = default;

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
