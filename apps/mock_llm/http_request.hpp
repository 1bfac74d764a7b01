#pragma once
// One HTTP request as it arrives: Beast's parser, without a container of fields that nobody reads.

#include <cstdint>
#include <string>
#include <string_view>

#include <boost/beast/http/basic_parser.hpp>

#include "troupe/util/utf8.hpp"

namespace troupe::mock_llm {

namespace http = boost::beast::http;

/// Keeps the method, target, body, and the few headers that matter. A body beyond `most_body` is read and thrown away, so that its sender
/// can be told (413) instead of meeting a reset connection.
class http_request : public http::basic_parser<true> {
public:
  http_request(std::size_t most_header, std::size_t most_body) : most_body_(most_body) {
    header_limit(static_cast<std::uint32_t>(most_header));
    body_limit(boost::none);
    eager(true);
  }

  http::verb method = http::verb::unknown;
  std::string target;
  std::string agent; ///< X-Troupe-Agent, mended where it is no UTF-8
  std::string body;
  bool has_version = false; ///< anthropic-version
  bool expects_continue = false;
  bool too_large = false;
  std::uint64_t thrown_away = 0;
  bool is_http_1_0 = false;

private:
  using error_code = boost::beast::error_code;
  using string_view = boost::beast::string_view;

  void on_request_impl(http::verb verb, string_view, string_view path, int version, error_code&) override {
    method = verb;
    target.assign(path.data(), path.size());
    is_http_1_0 = version == 10;
  }
  void on_response_impl(int, string_view, int, error_code&) override {}
  void on_field_impl(http::field field, string_view name, string_view value, error_code&) override {
    if (field == http::field::expect)
      expects_continue = boost::beast::iequals(value, "100-continue");
    else if (field == http::field::unknown && boost::beast::iequals(name, "x-troupe-agent"))
      agent = mended_utf8({value.data(), value.size()});
    else if (field == http::field::unknown && boost::beast::iequals(name, "anthropic-version"))
      has_version = true;
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>& length, error_code&) override {
    if (length && *length > most_body_)
      too_large = true;
    else if (length)
      body.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(*length, 1u << 20)));
  }
  std::size_t on_body_impl(string_view piece, error_code&) override {
    if (!too_large && body.size() + piece.size() > most_body_)
      too_large = true;
    if (too_large) {
      thrown_away += piece.size();
      body = {};
    } else {
      body.append(piece.data(), piece.size());
    }
    return piece.size();
  }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view piece, error_code& problem) override { return on_body_impl(piece, problem); }
  void on_finish_impl(error_code&) override {}

  std::size_t most_body_;
};

} // namespace troupe::mock_llm
