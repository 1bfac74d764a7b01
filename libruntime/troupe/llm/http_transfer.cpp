#include "troupe/llm/http_transfer.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <new>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "troupe/llm/multi_loop.hpp"

namespace troupe::llm {

namespace {

constexpr std::size_t header_bytes_max = std::size_t{256} << 10;
constexpr long receive_buffer_bytes = 1'024; // the least: each transfer under way holds one, and ten thousand may wait for a slow model
constexpr std::size_t url_bytes_max = std::size_t{64} << 10;

struct url_free {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || (c != 0 && std::strchr("!#$%&'*+-.^_`|~", c));
  });
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool is_field_value(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

/// Fields that authenticate to one origin and must not follow a redirect to another.
bool is_credential(const http_request& request, std::string_view lower_name) {
  return lower_name == "authorization" || lower_name == "cookie" || lower_name == "proxy-authorization" || lower_name == "x-api-key"
         || std::any_of(request.credentials.begin(), request.credentials.end(),
                        [&](const std::string& each) { return lower_case(each) == lower_name; });
}

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
    t.result.status = status >= 200 ? static_cast<int>(status) : 0;
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
  const auto made = ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (made >= 0)
    t.loop->opened(made);
  return made;
}

/// The connection may outlive the transfer, so this is told the loop.
int close_socket(void* loop, curl_socket_t socket) noexcept {
  return static_cast<multi_loop*>(loop)->close(socket);
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
    const auto lowered = lower_case(name);
    has_type = has_type || lowered == "content-type";
    if (t.drop_credentials && is_credential(t.request, lowered))
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

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string origin_of(const std::string& url) {
  const std::unique_ptr<CURLU, url_free> parsed(curl_url());
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK)
    return {};
  std::string out;
  for (const CURLUPart part : {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT}) {
    char* text = nullptr;
    if (curl_url_get(parsed.get(), part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK)
      return {};
    out.append(lower_case(text)).push_back('|');
    curl_free(text);
  }
  return out;
}

std::string problem_of(const http_request& request) {
  if (!is_token(request.method) || request.method.size() > 32)
    return "the method is not an HTTP token";
  for (const auto& [name, value] : request.headers) {
    if (!is_token(name))
      return "a header's name is not an HTTP token";
    if (!is_field_value(value))
      return "the header \"" + name + "\" has a line break in its value";
  }
  if (request.url.size() > url_bytes_max)
    return "the URL is longer than 64 KiB";
  if (std::any_of(request.url.begin(), request.url.end(), [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; }))
    return "the URL has spaces or control characters";
  return {};
}

bool transfer::will_follow() const {
  return hops < request.max_redirects && is_redirect(result.status) && result.headers.find("location") != nullptr;
}

void prepare(transfer& t, const http_client_options& options, std::chrono::milliseconds left) {
  const auto& request = t.request;
  t.entries = 0;
  t.body_started = false;
  t.header_bytes = t.body_bytes = 0;
  t.address_refused = false;
  t.verdict.reset();
  t.words[0] = 0;
  curl_easy_reset(t.easy); // keeps the handle's memory; connections live in the multi handle
  if (curl_easy_setopt(t.easy, CURLOPT_BUFFERSIZE, receive_buffer_bytes) != CURLE_OK) {
    // It has the buffer of a transfer that came to nothing, whose size the reset has forgotten.
    curl_easy_cleanup(t.easy);
    t.easy = curl_easy_init();
    if (!t.easy)
      throw std::bad_alloc();
    set(t.easy, CURLOPT_BUFFERSIZE, receive_buffer_bytes);
  }
  CURL* easy = t.easy;
  const bool tls = request.url.size() > 5 && lower_case(std::string_view(request.url).substr(0, 6)) == "https:";
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
  set(easy, CURLOPT_USERAGENT, options.user_agent.c_str());
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  // Only TLS negotiates HTTP/2; waiting for a connection's protocol makes sense there only.
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  if (tls)
    set(easy, CURLOPT_PIPEWAIT, 1L);
  if (!options.ca_file.empty())
    set(easy, CURLOPT_CAINFO, options.ca_file.c_str());
  set(easy, CURLOPT_OPENSOCKETFUNCTION, &open_socket);
  set(easy, CURLOPT_OPENSOCKETDATA, static_cast<void*>(&t));
  set(easy, CURLOPT_CLOSESOCKETFUNCTION, &close_socket);
  set(easy, CURLOPT_CLOSESOCKETDATA, static_cast<void*>(t.loop));
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
}

} // namespace troupe::llm
