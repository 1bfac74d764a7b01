#pragma once
// From a provider's specification to a provider: one table row for each kind.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "troupe/llm/http_client.hpp"
#include "troupe/llm/provider.hpp"
#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"

namespace troupe::llm {

/// What a kind of provider is made by. `secret` is the API key, empty for none.
struct provider_row {
  provider_kind kind;
  expected<std::unique_ptr<provider>> (*make)(const provider_spec& spec, http_client& client, const std::string& secret);
};

/// The table. A new provider adds its row.
const std::vector<provider_row>& provider_rows();

/// Makes the provider of a specification. X-Troupe-Agent names the agent of a request where the base URL's host is loopback (a rehearsal
/// server), or the specification's headers have that name (with any value). `client` must outlive the provider. Errors:
/// `invalid_argument` for a base URL that is none.
expected<std::unique_ptr<provider>> make_provider(const provider_spec& spec, http_client& client, const std::string& secret);

/// Reads the key that the specification names (`take_secret`); empty where it names none. `not_found` when the variable is not set,
/// `invalid_argument` when what it holds cannot be a key: control characters, white space at its ends.
expected<std::string> read_api_key(const provider_spec& spec);

/// Whether a URL's host is loopback: localhost, *.localhost, 127.0.0.0/8, [::1].
bool is_loopback_url(const std::string& url);

} // namespace troupe::llm
