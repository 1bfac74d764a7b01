#pragma once
// What an HTTP tool sends, from its templates and a call's arguments (SEMANTICS 4, 11). The arguments are a model's, so they are hostile:
//
//   scheme, host, port   fixed text: no template may stand there
//   path                 a value is percent-encoded, "/" too, and is never empty, "." or ".." (nor has ".." between slashes): it cannot
//                        leave its place. RFC 3986, sections 2.3 and 3.3
//   query                a value is percent-encoded; `name={{ value }}` is left out where the argument is absent or null
//   headers              a value with a line break or another control character is refused; secrets stand here only: {{ env.NAME }}
//   body                 a mapping or list keeps the values' types; in a text that is JSON a value is encoded for JSON, inside a string and
//                        outside of one; in a text that is a form (a=1&b=2) it is percent-encoded; in any other text it stands as it is;
//                        without one, POST, PUT and PATCH send the arguments that neither url nor headers name, as one JSON object

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "troupe/model/error.hpp"
#include "troupe/policy/template.hpp"

namespace troupe::policy {

struct request_source {
  std::string method = "GET";
  std::string url;
  std::map<std::string, std::string> headers;
  nlohmann::json body;      ///< null: made of the arguments that are left, where the method has one
  std::string content_type; ///< empty: what the body is: application/json, a form, or text/plain
};

struct request_parts {
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers; ///< content-type included
  std::string body;
};

class request_template {
public:
  /// `invalid_argument` with where and why: "url: …", "headers/NAME: …", "body/a/0: …".
  static expected<request_template> compile(const request_source& source);

  /// The request for these arguments. `invalid_argument` in words for the model that sent them.
  expected<request_parts> render(const nlohmann::json& arguments, const std::map<std::string, std::string>& secrets) const;

  /// scheme://host:port of every request, as the file writes it.
  const std::string& origin() const { return origin_; }
  /// Names of `env_from` that the headers read.
  std::vector<std::string> secrets() const;
  /// Arguments that url, headers and body read, in order, without repeats.
  std::vector<std::string> arguments() const;
  /// Whether arguments that nothing reads are sent all the same.
  bool sends_the_rest() const { return sends_rest_; }
  /// Whether the body is a text in which values stand as they are, and could be read as more than a value.
  bool has_loose_values() const;
  /// Whether the body is a text that is nothing but one value.
  bool is_one_value() const { return has_body_ && body_.text.is_path(); }
  /// Names of headers that carry a secret: they stay behind when a redirect leads to another origin.
  const std::vector<std::string>& credentials() const { return credentials_; }

private:
  struct query_part {
    std::string name; ///< with its "="; empty: the part has none
    text_template value;
    bool optional = false;
  };
  struct body_part {
    text_template text;
    std::vector<std::string> names;  ///< of an object's members
    std::vector<body_part> elements; ///< of an array, or the members' values
    nlohmann::json fixed;            ///< what is neither a text nor a container
    enum class shape { text, object, array, fixed } kind = shape::fixed;
  };

  /// What a body that is a text is read as.
  enum class text_shape { plain, json, form };

  static text_shape shape_of(const text_template& text, const std::string& content_type);
  expected<void> compile_url(const std::string& url);
  expected<void> compile_headers(const request_source& source);
  static expected<body_part> compile_body(const nlohmann::json& from, const std::string& where);
  expected<std::string> render_url(const nlohmann::json& arguments) const;
  expected<std::string> render_body(const nlohmann::json& arguments) const;
  static nlohmann::json filled(const body_part& part, const nlohmann::json& arguments);
  static void each_path(const body_part& part, const std::function<void(const text_template::path&)>& visit);

  std::string origin_;
  std::vector<text_template> segments_;
  bool has_query_ = false;
  std::vector<query_part> query_;
  std::vector<std::pair<std::string, text_template>> headers_;
  std::vector<std::string> credentials_;
  body_part body_;
  text_shape body_shape_ = text_shape::plain;
  bool has_body_ = false;
  bool sends_rest_ = false;
  std::vector<std::string> named_; ///< by url and headers, sorted
  std::string content_type_;
};

/// Header names that belong to the transfer itself, or that the runtime sets: Host, Content-Length, Idempotency-Key … Any case.
bool is_reserved_header(std::string_view name);

/// Walks along JSON text with holes in it.
struct json_walk {
  bool quoted = false;  ///< inside a string
  bool escaped = false; ///< right after a backslash in it
  void pass(std::string_view text);
};

/// A control character that no header and no address may have.
bool has_control(std::string_view text);
/// `invalid_argument`, in these words.
tl::unexpected<error> unusable(std::string words);

} // namespace troupe::policy
