#include "troupe/llm/provider_factory.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

#include <curl/curl.h>

#include "troupe/llm/anthropic.hpp"
#include "troupe/llm/http_provider.hpp"
#include "troupe/llm/openai.hpp"
#include "troupe/llm/script_file.hpp"
#include "troupe/llm/scripted.hpp"
#include "troupe/util/redact.hpp"

namespace troupe::llm {

namespace {

/// At most this many tokens are added by the vendors for declared tools (Anthropic states up to 804 for its models of today).
constexpr std::int64_t tool_tokens_max = 2'048;
/// A header's value, or a query's, of fewer bytes is no secret, and taking it out of an error would spoil that.
constexpr std::size_t said_bytes_min = 8;
/// What stands in the names of a query's keys.
constexpr const char* key_words[] = {"key", "token", "secret", "auth", "password", "credential", "signature"};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// The host in lower case without brackets; empty: not an http(s) URL.
std::string host_of(const std::string& url) {
  CURLU* parsed = curl_url();
  std::string out;
  char* text = nullptr;
  const auto lowered = lower(url.substr(0, 8));
  if (parsed && (lowered.rfind("http://", 0) == 0 || lowered == "https://")
      && curl_url_set(parsed, CURLUPART_URL, url.c_str(), 0) == CURLUE_OK && curl_url_get(parsed, CURLUPART_HOST, &text, 0) == CURLUE_OK) {
    out = lower(text);
    curl_free(text);
  }
  curl_url_cleanup(parsed);
  if (out.size() > 2 && out.front() == '[')
    out = out.substr(1, out.size() - 2);
  return out;
}

std::string without_end(std::string url, std::string_view end) {
  if (url.size() >= end.size() && url.compare(url.size() - end.size(), end.size(), end) == 0)
    url.resize(url.size() - end.size());
  return url;
}

struct vendor {
  const char* base_url;
  const char* path;
  std::vector<std::pair<std::string, std::string>> headers;
};

/// The "user:password" of "scheme://user:password@host"; empty for none.
std::string_view credentials_of(std::string_view url) {
  const auto begin = url.find("://");
  if (begin == std::string_view::npos)
    return {};
  const auto authority = url.substr(begin + 3, url.find_first_of("/?#", begin + 3) - begin - 3);
  const auto at = authority.rfind('@');
  return at == std::string_view::npos ? std::string_view() : authority.substr(0, at);
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (; !text.empty(); text.remove_prefix(1)) {
    unsigned char byte = 0;
    if (text.front() == '%' && text.size() >= 3 && std::from_chars(text.data() + 1, text.data() + 3, byte, 16).ptr == text.data() + 3) {
      out += static_cast<char>(byte);
      text.remove_prefix(2);
    } else {
      out += text.front();
    }
  }
  return out;
}

/// The password of a URL is a secret, as it stands there and as it is sent; Basic sends it behind the user's name.
void keep_secret(std::string_view url) {
  const auto own = credentials_of(url);
  const auto colon = own.find(':');
  if (colon == std::string_view::npos || colon + 1 == own.size())
    return;
  const auto password = own.substr(colon + 1);
  secrets().add(password);
  secrets().add(percent_decoded(password));
  secrets().add(percent_decoded(own));
}

/// A parameter whose name says that its value tells who asks.
bool names_key(const std::string& lowered) {
  return lowered == "sig" || lowered == "code" || std::any_of(std::begin(key_words), std::end(key_words), [&](const char* word) {
           return lowered.find(word) != std::string::npos;
         });
}

/// The values of a query, as they stand there and as they mean: keys are secrets, the others may be ordinary words and are only `said`.
void keep_secrets_of_query(std::string_view query, std::vector<std::string>& said) {
  while (!query.empty()) {
    query.remove_prefix(1); // '?' or '&'
    const auto pair = query.substr(0, query.find('&'));
    query.remove_prefix(pair.size());
    const auto equals = std::min(pair.find('='), pair.size());
    const std::string value(pair.substr(std::min(equals + 1, pair.size())));
    for (const auto& form : {value, percent_decoded(value)}) {
      if (names_key(lower(std::string(pair.substr(0, equals)))))
        secrets().add(form);
      else if (form.size() >= said_bytes_min)
        said.push_back(form);
    }
  }
}

expected<std::unique_ptr<provider>> over_http(const provider_spec& spec, http_client& client, const std::string& secret, vendor of,
                                              std::unique_ptr<wire_format> format) {
  auto base = spec.base_url.empty() ? std::string(of.base_url) : spec.base_url;
  std::string query; // as of Azure: ?api-version=…
  if (const auto at = base.find('?'); at != std::string::npos) {
    query = base.substr(at);
    base.resize(at);
  }
  while (!base.empty() && base.back() == '/')
    base.pop_back();
  if (spec.kind == provider_kind::anthropic)
    base = without_end(std::move(base), "/v1"); // the path has it
  if (host_of(base).empty())
    return fail(error_code::invalid_argument,
                "the base_url \"" + redacted(base) + "\" is not an http or https URL; write it as " + std::string(of.base_url),
                "provider \"" + spec.name + "\"");
  endpoint where;
  where.url = base + of.path + query;
  where.proxy = spec.proxy;
  where.secret = secret;
  where.timeout = spec.timeout;
  where.stream = spec.stream;
  where.name_agent = is_loopback_url(base);
  where.tool_tokens = tool_tokens_max;
  where.headers = {{"Content-Type", "application/json"}, {"Accept", "application/json"}};
  for (auto& header : of.headers)
    where.headers.push_back(std::move(header));
  for (const auto& [name, value] : spec.headers) {
    const auto lowered = lower(name);
    if (lowered == "x-troupe-agent") {
      where.name_agent = true;
      continue;
    }
    std::erase_if(where.headers, [&](const auto& own) { return lower(own.first) == lowered; });
    where.headers.emplace_back(name, value);
    for (const auto& said : {value, value.substr(value.rfind(' ') + 1)}) // without "Bearer "
      if (said.size() >= said_bytes_min)
        where.said.push_back(said);
  }
  for (const auto& url : {base, spec.proxy})
    keep_secret(url);
  keep_secrets_of_query(query, where.said);
  return std::make_unique<http_provider>(std::move(where), std::move(format), client);
}

expected<std::unique_ptr<provider>> make_openai(const provider_spec& spec, http_client& client, const std::string& secret) {
  vendor of{"https://api.openai.com/v1", "/chat/completions", {}};
  if (!secret.empty())
    of.headers.emplace_back("Authorization", "Bearer " + secret);
  return over_http(spec, client, secret, std::move(of), make_openai_format(spec.max_tokens_field));
}

expected<std::unique_ptr<provider>> make_anthropic(const provider_spec& spec, http_client& client, const std::string& secret) {
  vendor of{"https://api.anthropic.com", "/v1/messages", {{"anthropic-version", "2023-06-01"}}};
  if (!secret.empty())
    of.headers.emplace_back("x-api-key", secret);
  return over_http(spec, client, secret, std::move(of), make_anthropic_format());
}

expected<std::unique_ptr<provider>> make_scripted(const provider_spec& spec, http_client&, const std::string&) {
  auto script = load_script_file(spec.script);
  if (!script)
    return tl::unexpected(script.error());
  return std::make_unique<scripted_provider>(std::move(*script));
}

} // namespace

const std::vector<provider_row>& provider_rows() {
  static const std::vector<provider_row> rows{
      {provider_kind::openai, &make_openai},
      {provider_kind::anthropic, &make_anthropic},
      {provider_kind::scripted, &make_scripted},
  };
  return rows;
}

expected<std::unique_ptr<provider>> make_provider(const provider_spec& spec, http_client& client, const std::string& secret) {
  for (const auto& row : provider_rows())
    if (row.kind == spec.kind)
      return row.make(spec, client, secret);
  return fail(error_code::invalid_argument, "there is no provider of this kind in this program", "provider \"" + spec.name + "\"");
}

expected<std::string> read_api_key(const provider_spec& spec) {
  if (spec.api_key_env.empty())
    return std::string{};
  auto key = take_secret(spec.api_key_env);
  if (key)
    if (const auto wrong = flaw_of_key(*key); !wrong.empty())
      key = fail(error_code::invalid_argument, "the API key in the environment variable \"" + spec.api_key_env + "\" " + wrong);
  if (!key)
    key.error().where = "provider \"" + spec.name + "\"";
  return key;
}

bool is_loopback_url(const std::string& url) {
  const auto host = host_of(url);
  constexpr std::string_view suffix = ".localhost";
  return host == "localhost" || host == "::1" || (host.rfind("127.", 0) == 0 && host.find_first_not_of("0123456789.") == std::string::npos)
         || (host.size() > suffix.size() && host.compare(host.size() - suffix.size(), suffix.size(), suffix) == 0);
}

} // namespace troupe::llm
