#include "troupe/tools/mcp_pins.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "troupe/tools/mcp_server.hpp"
#include "troupe/util/parse_json.hpp"
#include "troupe/util/unique_fd.hpp"

namespace troupe::tools {

namespace {

tl::unexpected<error> cannot(const std::string& path, const char* what) {
  return fail(error_code::unavailable, std::string("it cannot be ") + what + ": " + std::strerror(errno), path);
}

const json* entry_of(const json& servers, const std::string& server, const std::string& source) {
  const auto found = servers.find(server);
  if (found == servers.end() || !found->is_object() || found->value("source", "") != source)
    return nullptr;
  const auto tools = found->find("tools");
  return tools != found->end() && tools->is_object() ? &*tools : nullptr;
}

} // namespace

file_guard::file_guard(const std::string& path) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  fd_ = ::open((path + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  while (fd_ >= 0 && ::flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
  }
}

file_guard::~file_guard() {
  if (fd_ >= 0)
    ::close(fd_);
}

expected<std::string> read_private_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in)
    return std::filesystem::exists(path) ? expected<std::string>(cannot(path, "read")) : std::string();
  return std::string{std::istreambuf_iterator<char>(in), {}};
}

expected<void> write_private_file(const std::string& path, const std::string& text) {
  const auto fresh = path + ".new";
  ::unlink(fresh.c_str());
  unique_fd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd)
    return cannot(path, "written");
  std::size_t at = 0;
  while (at < text.size()) {
    const auto wrote = ::write(fd.get(), text.data() + at, text.size() - at);
    if (wrote < 0 && errno != EINTR)
      return cannot(path, "written");
    at += wrote > 0 ? static_cast<std::size_t>(wrote) : 0;
  }
  if (::fsync(fd.get()) != 0 || ::rename(fresh.c_str(), path.c_str()) != 0)
    return cannot(path, "written");
  return {};
}

std::string mcp_source(const tool_spec& server) {
  if (server.command.empty())
    return server.url;
  std::string out;
  for (const auto& each : server.command)
    out += (out.empty() ? "" : " ") + each;
  return out;
}

expected<mcp_pins> mcp_pins::load(const std::string& path) {
  const auto text = read_private_file(path);
  if (!text)
    return tl::unexpected(text.error());
  mcp_pins out;
  if (text->empty())
    return out;
  auto document = parse_bounded(*text);
  if (!document || !document->is_object() || document->value("version", 0) != 1 || !document->value("servers", json()).is_object())
    return fail(error_code::corrupt,
                "it is not a list of approved MCP tools; look at it, and remove it to see every tool for the first time", path);
  out.servers_ = without_secrets(std::move((*document)["servers"])); // earlier versions wrote definitions as they were told
  return out;
}

expected<void> mcp_pins::save(const std::string& path) const {
  return write_private_file(path, json{{"version", 1}, {"servers", servers_}}.dump(2) + "\n");
}

json mcp_pins::definition(const std::string& server, const std::string& source, const std::string& tool) const {
  const auto* tools = entry_of(servers_, server, source);
  const auto found = tools != nullptr ? tools->find(tool) : json::const_iterator();
  return tools != nullptr && found != tools->end() ? *found : json();
}

pin_verdict mcp_pins::judge(const std::string& server, const std::string& source, const mcp_tool& tool) const {
  const auto pinned = definition(server, source, tool.name);
  return pinned.is_null() ? pin_verdict::fresh : pinned == tool.definition() ? pin_verdict::known : pin_verdict::changed;
}

void mcp_pins::pin(const std::string& server, const std::string& source, const mcp_tool& tool) {
  if (entry_of(servers_, server, source) == nullptr)
    servers_[server] = {{"source", source}, {"tools", json::object()}};
  servers_[server]["tools"][tool.name] = tool.definition();
}

expected<std::map<std::string, std::string>> mcp_pins::admit(const std::string& path, const tool_spec& server,
                                                             const std::vector<mcp_tool>& tools) {
  const file_guard guard(path);
  auto pins = load(path);
  if (!pins)
    return tl::unexpected(pins.error());
  const auto source = mcp_source(server);
  std::map<std::string, std::string> out;
  bool fresh = false;
  for (const auto& tool : tools) {
    const auto verdict = pins->judge(server.name, source, tool);
    if (verdict == pin_verdict::changed && server.mcp.hold_changes)
      continue;
    if (verdict != pin_verdict::known) {
      pins->pin(server.name, source, tool);
      fresh = true;
    }
    out.emplace(tool.name, mcp_fingerprint(tool));
  }
  if (fresh)
    if (auto saved = pins->save(path); !saved)
      return tl::unexpected(saved.error());
  return out;
}

expected<void> mcp_pins::approve(const std::string& path, const tool_spec& server, const std::vector<mcp_tool>& tools) {
  const file_guard guard(path);
  auto pins = load(path);
  if (!pins)
    return tl::unexpected(pins.error());
  for (const auto& tool : tools)
    pins->pin(server.name, mcp_source(server), tool);
  return pins->save(path);
}

} // namespace troupe::tools
