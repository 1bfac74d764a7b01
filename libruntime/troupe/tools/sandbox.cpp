#include "troupe/tools/sandbox.hpp"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include <unistd.h>

namespace troupe::tools {

namespace {

namespace fs = std::filesystem;

/// The path with its symbolic links resolved, as far as it exists.
std::string real_path(const std::string& path) {
  std::error_code ignored;
  auto real = fs::weakly_canonical(path, ignored).native();
  while (real.size() > 1 && real.back() == '/')
    real.pop_back();
  return ignored ? path : real;
}

/// Whether `path` is `folder` or below it; both without trailing slash.
bool is_below(std::string_view path, std::string_view folder) {
  return folder == "/" || (path.substr(0, folder.size()) == folder && (path.size() == folder.size() || path[folder.size()] == '/'));
}

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

class argument_list {
public:
  explicit argument_list(const std::string& program) { arguments_.push_back(program); }
  template <class... Words>
  void add(Words&&... words) {
    (arguments_.emplace_back(std::forward<Words>(words)), ...);
  }
  std::vector<std::string> take() { return std::move(arguments_); }

private:
  std::vector<std::string> arguments_;
};

/// A folder of the system as it is on this machine: a link stays a link (/bin -> usr/bin).
void add_system_folder(argument_list& out, const std::string& path) {
  std::error_code ignored;
  if (fs::is_symlink(path, ignored))
    out.add("--symlink", fs::read_symlink(path, ignored).native(), path);
  else if (fs::is_directory(path, ignored))
    out.add("--ro-bind", path, path);
}

void add_system(argument_list& out, bool network) {
  for (const char* folder : {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"})
    add_system_folder(out, folder);
  for (const char* file :
       {"/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/ssl/openssl.cnf"})
    out.add("--ro-bind-try", file, file);
  out.add("--ro-bind-data", std::to_string(sandbox_passwd_fd), "/etc/passwd");
  if (network)
    for (const char* file : {"/etc/resolv.conf", "/etc/hosts", "/etc/services", "/etc/gai.conf", "/etc/ssl/certs", "/etc/ca-certificates",
                             "/etc/pki/tls/certs", "/etc/pki/ca-trust"}) // never /etc/ssl/private: root could read it
      out.add("--ro-bind-try", file, file);
}

struct binding {
  std::string source; ///< resolved
  std::string target; ///< as the program names it
  bool writable = false;
};

tl::unexpected<error> missing(const char* key, const std::string& path) {
  return fail(error_code::not_found,
              std::string("the sandbox's ") + key + " names \"" + path + "\", which does not exist; create it or take it out");
}

/// Folder first, so that what is listed explicitly decides over it.
expected<std::vector<binding>> bindings_of(const sandbox_plan& plan) {
  std::vector<binding> out;
  if (!exists(plan.folder))
    return fail(error_code::not_found, "the configuration's folder \"" + plan.folder + "\" does not exist");
  out.push_back({real_path(plan.folder), plan.folder, false});
  for (const auto& path : plan.access.read) {
    if (!exists(path))
      return missing("read", path);
    out.push_back({real_path(path), path, false});
  }
  for (const auto& path : plan.access.write) {
    if (!exists(path))
      return missing("write", path);
    out.push_back({real_path(path), path, true});
  }
  return out;
}

/// What is there to be hidden, without what lies inside another one of them.
std::vector<std::string> outermost(const std::vector<std::string>& hidden) {
  std::vector<std::string> real;
  for (const auto& path : hidden)
    if (auto resolved = real_path(path); exists(resolved))
      real.push_back(std::move(resolved));
  std::sort(real.begin(), real.end()); // a folder comes before what is in it
  std::vector<std::string> out;
  for (auto& path : real)
    if (out.empty() || !is_below(path, out.back()))
      out.push_back(std::move(path));
  return out;
}

/// Hides a path under every name that a binding gives it.
expected<void> hide(argument_list& out, const std::string& real, const std::vector<binding>& bindings) {
  for (const auto& each : bindings) {
    if (is_below(each.source, real))
      return fail(error_code::invalid_argument,
                  "the sandbox would show \"" + each.target + "\", which is part of the journal; tools never see that");
    if (!is_below(real, each.source))
      continue;
    const auto target = each.target == "/" ? real : each.target + real.substr(each.source == "/" ? 0 : each.source.size());
    if (fs::is_directory(real))
      out.add("--tmpfs", target, "--remount-ro", target);
    else
      out.add("--ro-bind", "/dev/null", target);
  }
  return {};
}

} // namespace

std::string sandbox_passwd() {
  const auto id = std::to_string(::geteuid());
  return (::geteuid() == 0 ? "root" : "tool") + (":x:" + id) + ":" + std::to_string(::getegid()) + "::/tmp:/bin/sh\n";
}

expected<std::vector<std::string>> sandbox_arguments(const sandbox_plan& plan) {
  auto bindings = bindings_of(plan);
  if (!bindings)
    return tl::unexpected(bindings.error());
  argument_list out(plan.bwrap);
  // `--unshare-user` is implied for plain users. For root it would only add ways to be refused.
  out.add("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "sandbox", "--die-with-parent",
          "--new-session", "--cap-drop", "ALL");
  if (!plan.access.network)
    out.add("--unshare-net");
  add_system(out, plan.access.network);
  const auto scratch = std::to_string(plan.scratch_bytes);
  out.add("--proc", "/proc", "--dev", "/dev", "--size", scratch, "--tmpfs", "/dev/shm", "--size", scratch, "--tmpfs", "/tmp");
  for (const auto& each : *bindings) {
    // In front of /proc, /dev and /tmp a whole-system view would be shadowed by its own parts; and it is never what was meant.
    if (each.target == "/" || each.source == "/")
      return fail(error_code::invalid_argument,
                  "the sandbox would show the whole file system (\"/\"); name the folders that the tool needs");
    out.add(each.writable ? "--bind" : "--ro-bind", each.source, each.target);
  }
  // The system's own folders may hold the journal too (a configuration below /usr/local).
  auto visible = *bindings;
  for (const char* folder : {"/usr", "/bin", "/sbin", "/lib"})
    if (auto real = real_path(folder); real == folder)
      visible.push_back({real, real, false});
  for (const auto& path : outermost(plan.hidden))
    if (auto hidden = hide(out, path, visible); !hidden)
      return tl::unexpected(hidden.error());
  // What bubblewrap builds these two of is memory too, as much as half the machine's.
  out.add("--remount-ro", "/dev", "--remount-ro", "/");
  out.add("--chdir", plan.folder, "--json-status-fd", std::to_string(sandbox_status_fd), "--block-fd", std::to_string(sandbox_gate_fd),
          "--");
  return out.take();
}

} // namespace troupe::tools
