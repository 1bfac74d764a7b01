// `troupe mcp tools|call|approve|login|logout`: an operator's view of one MCP server.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <future>
#include <map>

#include <spawn.h>
#include <unistd.h>

#include "command.hpp"
#include "input.hpp"
#include "output.hpp"
#include "session.hpp"
#include "timeline.hpp"
#include "troupe/llm/http_client.hpp"
#include "troupe/model/described.hpp"
#include "troupe/tools/io_loop.hpp"
#include "troupe/tools/mcp_host.hpp"
#include "troupe/tools/mcp_login.hpp"
#include "troupe/tools/mcp_pins.hpp"
#include "troupe/tools/worker_pool.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::cli {

namespace {

struct mcp_arguments {
  std::string config, server, tool, arguments = "{}";
  std::vector<std::string> tools;
  std::string scope, browser;
  bool as_json = false, login = false;
};

constexpr int logins_max = 3; ///< for one call: a server that is never content is given up

/// The configuration, its entry, and what it takes to talk to that server.
class desk {
public:
  static std::unique_ptr<desk> open(const mcp_arguments& arguments, int& status) {
    auto config = load_or_tell(arguments.config);
    if (!config) {
      status = status_usage;
      return nullptr;
    }
    const auto found = config->tools.find(arguments.server);
    if (found == config->tools.end() || found->second.kind != tool_kind::mcp) {
      std::map<std::string, int> servers;
      for (const auto& [name, spec] : config->tools)
        if (spec.kind == tool_kind::mcp)
          servers.emplace(name, 0);
      status = tell({error_code::not_found,
                     "no MCP server named " + in_quotes(arguments.server) + did_you_mean(arguments.server, names_of(servers)),
                     arguments.config});
      return nullptr;
    }
    return std::unique_ptr<desk>(new desk(std::move(config), found->second));
  }

  /// Opens the address where a human says yes.
  static void show(const std::string& address, const std::string& command) {
    std::fprintf(stderr, "Open this address in a browser, and come back here:\n%s\n", printable(address, 16'000).c_str());
    if (command.empty())
      return;
    const char* const words[] = {command.c_str(), address.c_str(), nullptr};
    pid_t pid = 0;
    if (const int failed = ::posix_spawnp(&pid, command.c_str(), nullptr, nullptr, const_cast<char* const*>(words), environ); failed != 0)
      tell_error(command + ": " + std::strerror(failed) + "; open the address yourself");
  }

  /// Its tools as it tells them now; nothing is pinned.
  expected<tools::mcp_listing> connect() {
    std::promise<expected<tools::mcp_listing>> told;
    server_ = servers_.add(spec);
    server_->open([&](expected<tools::mcp_listing> listing) { told.set_value(std::move(listing)); });
    return told.get_future().get();
  }

  tool_outcome call(const std::string& tool, json arguments, std::map<std::string, std::string> admitted) {
    server_->approve(std::move(admitted));
    invocation wanted;
    wanted.tool = tool;
    wanted.arguments = std::move(arguments);
    wanted.timeout = spec.timeout;
    std::promise<tool_outcome> done;
    server_->call(tool, std::move(wanted), [&](tool_outcome outcome) { done.set_value(std::move(outcome)); });
    return done.get_future().get();
  }

  /// Whether the last refusal was for want of a token that a human can get.
  bool wants_login() const {
    const auto authorizer = servers_.authorizer(spec.name);
    return authorizer && !authorizer->last_challenge().empty();
  }

  expected<void> log_in(const mcp_arguments& arguments) {
    const auto authorizer = servers_.authorizer(spec.name);
    tools::login_order order;
    order.server = spec;
    order.tokens_path = tools::mcp_tokens_path(state);
    order.challenge = authorizer ? authorizer->last_challenge() : std::string();
    order.scope = arguments.scope;
    order.secret = environment_.secret;
    order.open_browser = [command = arguments.browser](const std::string& address) { show(address, command); };
    return tools::log_in(order, http_);
  }

  std::shared_ptr<const configuration> config;
  tool_spec spec;
  std::string state;

private:
  desk(std::shared_ptr<const configuration> of, const tool_spec& entry)
      : config(std::move(of)), spec(entry), state(tools::mcp_state_folder(*config)), environment_{.loop = loop_, .workers = workers_},
        servers_(environment_, state) {
    environment_.http = &http_;
    environment_.folder = config->folder;
    environment_.secret = [](const std::string& name) -> std::optional<std::string> {
      auto value = take_secret(name);
      return value ? std::optional(*value) : std::nullopt;
    };
  }

  llm::http_client http_;
  tools::io_loop loop_;
  tools::worker_pool workers_{1};
  tools::environment environment_;
  tools::mcp_servers servers_;
  std::shared_ptr<tools::mcp_server> server_;
};

void print(const std::string& text) {
  std::fputs(printable(redacted(text), 100'000).c_str(), stdout);
}

const char* word_of(tools::pin_verdict verdict) {
  return verdict == tools::pin_verdict::known ? "approved" : verdict == tools::pin_verdict::fresh ? "new" : "held";
}

int list_tools(const mcp_arguments& arguments) {
  int status = 0;
  auto with = desk::open(arguments, status);
  if (!with)
    return status;
  const auto listing = with->connect();
  if (!listing)
    return tell(listing.error());
  const auto pins = tools::mcp_pins::load(tools::mcp_pins_path(with->state));
  if (!pins)
    return tell(pins.error());
  const auto source = tools::mcp_source(with->spec);
  json document{{"server", with->spec.name}, {"protocol", listing->version}, {"tools", json::array()}, {"refused", listing->refused}};
  for (const auto& tool : listing->tools) {
    tool_spec spec = with->spec;
    tools::apply_annotations(tool, with->spec.mcp, spec);
    json row = tool.definition();
    row["state"] = word_of(pins->judge(with->spec.name, source, tool));
    row["effect"] = name_of(spec.effect);
    row["risk"] = name_of(spec.risk);
    if (row["state"] == "held")
      row["approved"] = pins->definition(with->spec.name, source, tool.name);
    document["tools"].push_back(std::move(row));
  }
  if (arguments.as_json) {
    print_document(document);
    return status_completed;
  }
  std::printf("%s speaks %s and offers %zu tools\n", with->spec.name.c_str(), printable(listing->version, 60).c_str(),
              listing->tools.size());
  for (const auto& row : document["tools"]) {
    print(row["name"].get<std::string>() + "  " + row["state"].get<std::string>() + ", effect " + row["effect"].get<std::string>()
          + ", risk " + row["risk"].get<std::string>());
    std::putchar('\n');
    print("    " + row["description"].get<std::string>());
    std::putchar('\n');
    if (row.contains("approved"))
      for (const auto* key : {"description", "inputSchema", "outputSchema", "annotations"})
        if (row["approved"][key] != row[key]) {
          print(std::string("    ") + key
                + " was approved as: " + row["approved"][key].dump(-1, ' ', false, json::error_handler_t::replace));
          std::putchar('\n');
          print(std::string("    ") + key + " is now:          " + row[key].dump(-1, ' ', false, json::error_handler_t::replace));
          std::putchar('\n');
        }
  }
  for (const auto& why : listing->refused)
    tell_error("not offered: " + why);
  return status_completed;
}

const tools::mcp_tool* find_tool(const tools::mcp_listing& listing, const std::string& name) {
  const auto found = std::find_if(listing.tools.begin(), listing.tools.end(), [&](const auto& each) { return each.name == name; });
  return found == listing.tools.end() ? nullptr : &*found;
}

int no_such_tool(const desk& with, const tools::mcp_listing& listing, const std::string& name) {
  std::vector<std::string_view> known;
  for (const auto& each : listing.tools)
    known.push_back(each.name);
  return tell({error_code::not_found,
               "MCP server " + in_quotes(with.spec.name) + " offers no tool named " + in_quotes(name) + did_you_mean(name, known),
               {}});
}

/// One attempt; `wants_login` says whether a token is what it lacks.
int call_once(const mcp_arguments& arguments, desk& with, const json& given, bool& wants_login) {
  const auto listing = with.connect();
  wants_login = with.wants_login();
  if (!listing)
    return arguments.login && wants_login ? status_failed : tell(listing.error());
  const auto* tool = find_tool(*listing, arguments.tool);
  if (tool == nullptr)
    return no_such_tool(with, *listing, arguments.tool);
  auto admitted = tools::mcp_pins::admit(tools::mcp_pins_path(with.state), with.spec, listing->tools);
  if (!admitted)
    return tell(admitted.error());
  const auto outcome = with.call(arguments.tool, given, std::move(*admitted));
  wants_login = with.wants_login();
  if (outcome.status != tool_status::ok && arguments.login && wants_login)
    return status_failed;
  if (arguments.as_json)
    print_document(to_document(outcome));
  else if (!outcome.output.empty())
    print_text(redacted(outcome.output) + "\n");
  if (outcome.status == tool_status::ok)
    return status_completed;
  tell_error(outcome.error);
  return status_failed;
}

int call_tool(const mcp_arguments& arguments) {
  const auto given = read_json_argument(arguments.arguments, "--arguments");
  if (!given)
    return tell(given.error());
  if (!given->is_object())
    return tell({error_code::invalid_argument, "--arguments takes one JSON object", {}});
  for (int logins = 0;; ++logins) {
    int status = 0;
    auto with = desk::open(arguments, status);
    if (!with)
      return status;
    bool wants_login = false;
    status = call_once(arguments, *with, *given, wants_login);
    if (status == status_completed || !arguments.login || !wants_login)
      return status;
    if (logins == logins_max)
      return tell(
          {error_code::permission_denied,
           "MCP server " + in_quotes(arguments.server) + " is not content with what " + std::to_string(logins_max) + " logins brought",
           {}});
    if (auto done = with->log_in(arguments); !done)
      return tell(done.error());
  }
}

int log_in(const mcp_arguments& arguments) {
  int status = 0;
  auto with = desk::open(arguments, status);
  if (!with)
    return status;
  if (with->spec.url.empty() || !with->spec.mcp.token_env.empty())
    return tell({error_code::invalid_argument,
                 with->spec.url.empty() ? "a server that is started (command) is not logged in to; give it secrets by env_from"
                                        : "its token is given by token_env",
                 with->spec.name});
  if (!tools::is_safe_address(with->spec.url))
    return tell({error_code::invalid_argument, "a token would go over the network for all to read; its url must begin with https://",
                 with->spec.name});
  if (auto done = with->log_in(arguments); !done)
    return tell(done.error());
  std::printf("logged in to %s; the tokens are in %s\n", with->spec.name.c_str(), tools::mcp_tokens_path(with->state).c_str());
  return status_completed;
}

int log_out(const mcp_arguments& arguments) {
  int status = 0;
  auto with = desk::open(arguments, status);
  if (!with)
    return status;
  const auto gone = tools::forget_credentials(tools::mcp_tokens_path(with->state), with->spec.name);
  if (!gone)
    return tell(gone.error());
  std::printf(*gone ? "the tokens of %s are forgotten\n" : "there are no tokens of %s\n", with->spec.name.c_str());
  return status_completed;
}

int approve(const mcp_arguments& arguments) {
  int status = 0;
  auto with = desk::open(arguments, status);
  if (!with)
    return status;
  const auto listing = with->connect();
  if (!listing)
    return tell(listing.error());
  std::vector<tools::mcp_tool> chosen;
  for (const auto& name : arguments.tools) {
    const auto* tool = find_tool(*listing, name);
    if (tool == nullptr)
      return no_such_tool(*with, *listing, name);
    chosen.push_back(*tool);
  }
  if (arguments.tools.empty())
    chosen = listing->tools;
  if (auto saved = tools::mcp_pins::approve(tools::mcp_pins_path(with->state), with->spec, chosen); !saved)
    return tell(saved.error());
  for (const auto& tool : chosen) {
    print("approved " + tool.name + ": " + tool.description);
    std::putchar('\n');
  }
  return status_completed;
}

} // namespace

void add_mcp(CLI::App& app, const global_options&, action& chosen) {
  auto arguments = std::make_shared<mcp_arguments>();
  auto* group = app.add_subcommand("mcp", "Looks at an MCP server of a configuration, and calls, approves or logs in to it");
  group->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, int (*run)(const mcp_arguments&)) {
    auto* command = group->add_subcommand(name, help);
    command->add_option("CONFIG", arguments->config, "Configuration file")->required();
    command->add_option("SERVER", arguments->server, "Name of an entry of kind mcp in its tools")->required();
    command->callback([arguments, run, &chosen] { chosen = [arguments, run] { return run(*arguments); }; });
    return command;
  };
  add("tools", "Lists what it offers, and what of that is held", list_tools)
      ->add_flag("--json", arguments->as_json, "Print one JSON document");
  auto* call = add("call", "Calls one of its tools once", call_tool);
  call->add_option("TOOL", arguments->tool, "The server's name of the tool")->required();
  call->add_option("--arguments", arguments->arguments, "The arguments, as one JSON object")->capture_default_str();
  call->add_flag("--json", arguments->as_json, "Print the outcome as one JSON document");
  call->add_flag("--login", arguments->login, "Log in when the server asks for it, and call again");
  auto* login = add("login", "Gets tokens for a remote server: a human says yes in a browser", log_in);
  login->add_option("--scope", arguments->scope, "More than the server asks for, separated by spaces");
  for (auto* each : {call, login})
    each->add_option("--browser", arguments->browser, "Program that is started with the address; default: the address is only printed");
  add("logout", "Forgets the tokens of a remote server", log_out);
  add("approve", "Lets tools that changed in as they are now", approve)
      ->add_option("TOOL", arguments->tools, "Only these; default: all that it offers");
}

} // namespace troupe::cli
