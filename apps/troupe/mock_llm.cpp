// `troupe mock-llm`: an OpenAI- and Anthropic-compatible server that answers from a script.

#include <charconv>

#include "command.hpp"
#include "mock_llm/server.hpp"
#include "session.hpp"
#include "troupe/llm/script_file.hpp"
#include "troupe/util/duration.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::cli {

namespace {

struct mock_arguments {
  std::string script;
  std::string listen = "127.0.0.1:0";
  std::string latency = "0ms";
  std::vector<std::string> faults;
  std::string seed = "0";
  unsigned threads = 1;
};

int mock(const mock_arguments& arguments) {
  mock_llm::options options;
  options.script_path = arguments.script;
  options.listen = arguments.listen;
  options.threads = arguments.threads;
  auto script = llm::load_script_file(arguments.script);
  if (!script)
    return tell(script.error());
  options.script = *script;
  const auto latency = parse_duration(arguments.latency);
  if (!latency)
    return tell({latency.error().code, latency.error().message, "--latency"});
  options.latency = *latency;
  const auto* const end = arguments.seed.data() + arguments.seed.size();
  if (const auto read = std::from_chars(arguments.seed.data(), end, options.seed); read.ec != std::errc{} || read.ptr != end)
    return tell({error_code::invalid_argument,
                 in_quotes(arguments.seed) + " is no seed; write a whole number from 0 to 18446744073709551615", "--seed"});
  for (const auto& words : arguments.faults) {
    auto faults = mock_llm::parse_faults(words);
    if (!faults)
      return tell(faults.error());
    if (faults->empty())
      return tell(
          {error_code::invalid_argument, "this names no fault; write kind:probability or kind:count, as in 429:0.1 or 503:2", "--fault"});
    options.faults.insert(options.faults.end(), faults->begin(), faults->end());
  }
  return mock_llm::run_mock_llm(std::move(options));
}

} // namespace

void add_mock_llm(CLI::App& app, const global_options&, action& chosen) {
  auto arguments = std::make_shared<mock_arguments>();
  auto* command = app.add_subcommand("mock-llm", "Serves OpenAI's and Anthropic's protocols from a script, and misbehaves on request");
  command->add_option("--script", arguments->script, "Script file")->required();
  command->add_option("--listen", arguments->listen, "Address of this machine and port; port 0 takes a free one")->capture_default_str();
  command->add_option("--latency", arguments->latency, "Of every answer, as in 50ms")->capture_default_str();
  command->add_option("--fault", arguments->faults, "429:0.1 503:2 timeout:0.02 …: a probability below 1, or a count")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--seed", arguments->seed, "Of the faults")->capture_default_str();
  command->add_option("--threads", arguments->threads, "Threads that serve")->check(CLI::Range(1u, 64u))->capture_default_str();
  command->callback([arguments, &chosen] { chosen = [arguments] { return mock(*arguments); }; });
}

} // namespace troupe::cli
