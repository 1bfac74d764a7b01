// From the exec of `troupe run` on a small file until its first request has arrived at the provider, each time with a new journal.
//
//   bench_start TROUPE FOLDER [ROUNDS]          TROUPE as build/release/troupe; FOLDER is made, and holds configuration and journal
//
// Prints: the fastest, the median and the slowest start (ms), and the same for an exec of `TROUPE --version` (loading the program alone).

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using clock_type = std::chrono::steady_clock;

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::exit(1);
}

/// A listening socket on loopback, and its port.
std::pair<int, int> listener() {
  const int at = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof where;
  if (at < 0 || ::bind(at, reinterpret_cast<sockaddr*>(&where), size) != 0 || ::listen(at, 16) != 0
      || ::getsockname(at, reinterpret_cast<sockaddr*>(&where), &size) != 0)
    give_up("listen");
  return {at, ntohs(where.sin_port)};
}

pid_t start(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const auto& word : words)
    arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  for (const int output : {STDOUT_FILENO, STDERR_FILENO})
    posix_spawn_file_actions_addopen(&files, output, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  if (const int problem = ::posix_spawn(&child, arguments[0], &files, nullptr, arguments.data(), environ); problem != 0) {
    errno = problem;
    give_up(arguments[0]);
  }
  posix_spawn_file_actions_destroy(&files);
  return child;
}

double ms_since(clock_type::time_point begin) {
  return std::chrono::duration<double, std::milli>(clock_type::now() - begin).count();
}

/// Until the first byte of a request is here; then it is answered, and the run ends.
double one_start(const std::vector<std::string>& words, int at) {
  const auto begin = clock_type::now();
  const auto child = start(words);
  pollfd ready{at, POLLIN, 0};
  if (::poll(&ready, 1, 10'000) != 1)
    give_up("no request came within 10 s");
  const int peer = ::accept4(at, nullptr, nullptr, SOCK_CLOEXEC);
  char request[65536];
  if (::read(peer, request, sizeof request) <= 0)
    give_up("read");
  const auto took = ms_since(begin);
  const std::string body = R"({"choices":[{"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],)"
                           R"("usage":{"prompt_tokens":10,"completion_tokens":1}})";
  const auto answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
                      + std::to_string(body.size()) + "\r\n\r\n" + body;
  if (::write(peer, answer.data(), answer.size()) < 0)
    give_up("write");
  ::close(peer);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::fprintf(stderr, "the run did not complete (status %d)\n", status);
    std::exit(1);
  }
  return took;
}

double one_exec(const std::vector<std::string>& words) {
  const auto begin = clock_type::now();
  int status = 0;
  ::waitpid(start(words), &status, 0);
  return ms_since(begin);
}

void print(const char* what, std::vector<double> times) {
  std::sort(times.begin(), times.end());
  std::printf("%-36s %8.1f %8.1f %8.1f\n", what, times.front(), times[times.size() / 2], times.back());
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: bench_start TROUPE FOLDER [ROUNDS]\n");
    return 2;
  }
  const std::string troupe = argv[1], folder = argv[2];
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 20;
  const auto [at, port] = listener();
  std::filesystem::create_directories(folder);
  const auto file = folder + "/troupe.yaml";
  std::ofstream(file) << "version: 1\n"
                         "providers:\n"
                         "  local: { kind: openai, base_url: \"http://127.0.0.1:"
                      << port
                      << "/v1\", stream: false }\n"
                         "models:\n"
                         "  m: { chain: [ { provider: local, model: small, usd_per_mtok: { input: 1, output: 2 }, context: 100000 } ] }\n"
                         "tools:\n"
                         "  calculator: { kind: builtin }\n"
                         "  look: { kind: process, description: Lists files, command: [ls], effect: none }\n"
                         "agents:\n"
                         "  greeter: { model: m, system: You greet., tools: [calculator, look] }\n"
                         "workflows:\n"
                         "  greet:\n"
                         "    tasks: [ { id: greet, agent: greeter, instruction: Say hello. } ]\n"
                         "    result: \"{{ tasks.greet.output }}\"\n";
  std::vector<double> runs, loads;
  for (int i = 0; i < rounds; ++i) {
    std::filesystem::remove_all(folder + "/.troupe");
    runs.push_back(one_start({troupe, "run", file, "greet"}, at));
    loads.push_back(one_exec({troupe, "--version"}));
  }
  std::printf("%-36s %8s %8s %8s\n", "ms", "fastest", "median", "slowest");
  print("until the first request has arrived", runs);
  print("the program alone (--version)", loads);
}
