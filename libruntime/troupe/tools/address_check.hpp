#pragma once
// Which hosts and addresses a tool may reach. Pure functions. A model names the URL, so names, redirects and name servers are hostile.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/model/error.hpp"

struct sockaddr;

namespace troupe::tools {

/// Whether an address belongs to the public Internet: not loopback, private (RFC 1918, 4193, 6598), link-local, multicast, documentation,
/// reserved or unspecified, and no IPv6 form that carries an IPv4 address which is one of these (mapped, 6to4, NAT64, Teredo). Source: the
/// IANA special-purpose registries.
bool is_public_address(const sockaddr* address);
bool is_loopback_address(const sockaddr* address);
/// An address of an own network: loopback, RFC 1918, RFC 6598, RFC 4193. Never link-local, nor where clouds keep their metadata
/// (169.254.169.254, fd00:ec2::254, 100.100.100.200).
bool is_private_address(const sockaddr* address);

/// Where a URL leads.
struct url_target {
  std::string scheme; ///< "http" or "https"
  std::string host;   ///< lower case, without brackets and trailing dot; an IPv4 address in its usual form
  std::uint16_t port = 0;
};

/// As libcurl reads it, so that nobody reads it differently later. `invalid_argument` for what is no http(s) URL, and with a user or
/// password in it.
expected<url_target> target_of(const std::string& url);

/// One entry of `allow_hosts`: "example.com", "*.example.com" (names below it), "example.com:8443", "127.0.0.1:8080", "[::1]:80".
/// Without a port every port is allowed.
struct allowed_host {
  std::string host;
  std::uint16_t port = 0;     ///< 0: any
  bool below = false;         ///< "*."
  bool is_address = false;    ///< a literal address: allowed whatever kind of address it is
  bool allow_private = false; ///< the name may lead into an own network
};
expected<std::vector<allowed_host>> parse_allowed_hosts(const std::vector<std::string>& entries, bool allow_private = false);

/// The entry that allows the target, or null.
const allowed_host* entry_for(const std::vector<allowed_host>& allowed, const url_target& target);

/// Whether a connection to `address` is all right for a target that `entry` allows: public, or the very address that the entry names, or,
/// for an entry "localhost", loopback, or private where the entry allows that.
bool may_connect(const allowed_host& entry, const sockaddr* address);

} // namespace troupe::tools
