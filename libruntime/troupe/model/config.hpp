#pragma once
// A validated configuration: what `config/` makes of a file, and what the runtime is built from. Names refer to entries that exist.

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <boost/describe.hpp>
#include <nlohmann/json.hpp>

#include "troupe/model/budget.hpp"
#include "troupe/model/llm.hpp"
#include "troupe/model/tool.hpp"

namespace troupe {

using std::chrono::milliseconds;

enum class provider_kind { openai, anthropic, scripted };
BOOST_DESCRIBE_ENUM(provider_kind, openai, anthropic, scripted)

struct provider_spec {
  std::string name;
  provider_kind kind = provider_kind::openai;
  std::string base_url;    ///< without a trailing slash, maybe with a query; filled with the vendor's where the file names none
  std::string api_key_env; ///< name of the environment variable; empty: no key is sent
  std::string script;      ///< of a scripted one: absolute path
  milliseconds timeout{60'000};
  bool stream = true;
  std::string proxy;                          ///< empty: none, whatever the environment says
  std::map<std::string, std::string> headers; ///< sent with each request
  std::string max_tokens_field;               ///< of kind openai: what the limit of an answer is called; empty: as the model's name says
};
BOOST_DESCRIBE_STRUCT(provider_spec, (), (name, kind, base_url, api_key_env, script, timeout, stream, proxy, headers, max_tokens_field))

struct chain_link {
  std::string provider;
  std::string model;
  token_price price;
  std::int64_t context = 0;     ///< tokens; 0: unknown
  std::string reasoning_effort; ///< of kind openai: how much it thinks; empty: as the model does by itself
};
BOOST_DESCRIBE_STRUCT(chain_link, (), (provider, model, price, context, reasoning_effort))

struct retry_spec {
  std::int64_t attempts = 3; ///< requests in all, first one included
  milliseconds base{1'000};
  milliseconds cap{30'000};
};
BOOST_DESCRIBE_STRUCT(retry_spec, (), (attempts, base, cap))

struct breaker_spec {
  std::int64_t failures = 5;
  milliseconds open_for{15'000};
};
BOOST_DESCRIBE_STRUCT(breaker_spec, (), (failures, open_for))

/// p95: of the latest answers of the model that was asked first.
enum class hedge_after { never, p95, time };
BOOST_DESCRIBE_ENUM(hedge_after, never, p95, time)

/// A second request when the first is slow.
struct hedge_spec {
  hedge_after after = hedge_after::never;
  milliseconds time{0};
};
BOOST_DESCRIBE_STRUCT(hedge_spec, (), (after, time))

struct model_spec {
  std::string name;
  std::vector<chain_link> chain; ///< fail-over order, at least one
  retry_spec retry;
  breaker_spec breaker;
  hedge_spec hedge;
};
BOOST_DESCRIBE_STRUCT(model_spec, (), (name, chain, retry, breaker, hedge))

struct sandbox_spec {
  bool enabled = true; ///< `sandbox: off` in the file
  bool network = false;
  std::vector<std::string> read; ///< absolute paths
  std::vector<std::string> write;
};
BOOST_DESCRIBE_STRUCT(sandbox_spec, (), (enabled, network, read, write))

struct tool_limits {
  std::int64_t memory_bytes = 1LL << 30;
  std::int64_t cpu_seconds = 60;
  std::int64_t processes = 64;
  std::int64_t output_bytes = 1LL << 20;
};
BOOST_DESCRIBE_STRUCT(tool_limits, (), (memory_bytes, cpu_seconds, processes, output_bytes))

/// What the request of an HTTP tool is made of, beside method, url and headers.
struct http_spec {
  json body; ///< a template, or an object or array whose strings are templates; null: the arguments that url and headers do not name
  std::string content_type;        ///< of the body; empty: application/json, or text/plain for a text
  std::vector<std::string> accept; ///< media types of the answer that are taken, "text/*" among them; empty: any text
  std::int64_t redirects = 5;      ///< followed at most
};
BOOST_DESCRIBE_STRUCT(http_spec, (), (body, content_type, accept, redirects))

/// How a remote MCP server's tokens are got (`troupe mcp login`).
struct mcp_oauth_spec {
  std::string client_id;           ///< registered beforehand; empty: metadata document or dynamic registration
  std::string client_secret_env;   ///< of a confidential client; empty: a public one
  std::string client_metadata_url; ///< https address of the client's metadata document; empty: none
  std::vector<std::string> scopes; ///< empty: what the server asks for
  std::string redirect;            ///< 127.0.0.1:PORT where the browser comes back; empty: a free port
};
BOOST_DESCRIBE_STRUCT(mcp_oauth_spec, (), (client_id, client_secret_env, client_metadata_url, scopes, redirect))

/// What the file says of one of a server's tools, over what the server says.
struct mcp_override {
  std::optional<troupe::effect> effect;
  std::optional<troupe::risk> risk;
};
BOOST_DESCRIBE_STRUCT(mcp_override, (), (effect, risk))

struct mcp_spec {
  std::string server;    ///< of one tool of a server: the entry of `tools` that names the server; filled in at start
  std::string tool;      ///< its name there; filled in at start
  std::string protocol;  ///< a version that alone is spoken; empty: the newest that both know
  std::string token_env; ///< a bearer token of a remote server; empty: none, or OAuth
  std::optional<mcp_oauth_spec> oauth;
  std::string elicitation = "decline";  ///< what a server that asks for input is told: decline, or defaults (its own default values)
  bool prefix = false;                  ///< every tool is named SERVER_TOOL, not only where two collide
  bool hold_changes = true;             ///< a tool that changed waits for `troupe mcp approve`
  std::optional<troupe::effect> effect; ///< for all its tools, where the file says so
  std::optional<troupe::risk> risk;
  std::map<std::string, mcp_override> overrides; ///< by the server's name of a tool
  milliseconds start_timeout{30'000};            ///< until it has told its tools
  milliseconds ping{30'000};                     ///< between pings while calls are in flight; 0: none
  std::int64_t max_restarts = 3; ///< of the server within a minute; more: its tools fail until the next call after that minute
};
BOOST_DESCRIBE_STRUCT(mcp_spec, (),
                      (server, tool, protocol, token_env, oauth, elicitation, prefix, hold_changes, effect, risk, overrides, start_timeout,
                       ping, max_restarts))

struct tool_spec {
  std::string name;
  tool_kind kind = tool_kind::builtin;
  std::string description;
  json parameters;     ///< JSON Schema of the arguments, an object; for builtins filled in
  std::string builtin; ///< which builtin: read_file write_file list_files http_fetch calculator clock (default: the tool's name)
  std::string root;    ///< of file builtins: absolute path of the folder they are confined to
  std::vector<std::string> command; ///< of process tools: one template an argument; of MCP tools: the server
  std::string stdin_template;       ///< of process tools
  std::vector<std::string> env_from;
  std::string method; ///< of HTTP tools
  std::string url;
  std::map<std::string, std::string> headers;
  std::vector<std::string> allow_hosts; ///< of http_fetch and HTTP tools
  bool allow_private = false;           ///< names among them may lead to private and loopback addresses; link-local ones never
  http_spec http;                       ///< of HTTP tools
  std::vector<std::string> mcp_tools;   ///< of MCP servers: those offered; empty: all
  mcp_spec mcp;                         ///< of MCP servers and their tools
  milliseconds timeout{30'000};
  std::int64_t retries = 2;
  std::string alternative;
  troupe::risk risk = troupe::risk::low;
  troupe::effect effect = troupe::effect::once;
  std::vector<std::int64_t> success{0}; ///< exit statuses; of HTTP tools the answer's, empty: 200 to 299
  std::int64_t max_calls = 0;           ///< for a task; 0: no limit
  std::int64_t max_parallel = 16;
  bool polling = false;
  std::vector<std::string> loop_ignore;
  sandbox_spec sandbox;
  tool_limits limits;
};
BOOST_DESCRIBE_STRUCT(tool_spec, (),
                      (name, kind, description, parameters, builtin, root, command, stdin_template, env_from, method, url, headers,
                       allow_hosts, allow_private, http, mcp_tools, mcp, timeout, retries, alternative, risk, effect, success, max_calls,
                       max_parallel, polling, loop_ignore, sandbox, limits))

/// What an answer must be (SEMANTICS 5).
struct output_spec {
  json schema;                            ///< null: any text
  std::optional<std::int64_t> min_length; ///< code points
  std::optional<std::int64_t> max_length;
  std::string matches; ///< RE2; empty: none
  std::string not_matches;
  std::vector<std::string> must_mention;
  std::vector<std::string> command;
  std::int64_t retries = 2;
  std::string reviewer;
  bool human = false;
};
BOOST_DESCRIBE_STRUCT(output_spec, (),
                      (schema, min_length, max_length, matches, not_matches, must_mention, command, retries, reviewer, human))

struct loop_spec {
  std::int64_t repeats = 3;
  std::int64_t window = 12;
  bool human = false; ///< somebody is asked before the task fails as `loop`
};
BOOST_DESCRIBE_STRUCT(loop_spec, (), (repeats, window, human))

/// How a conversation is made to fit its model's context (SEMANTICS 1).
struct context_spec {
  std::int64_t summaries = 3;         ///< of one task at most; 0: none
  std::int64_t summary_tokens = 1024; ///< that one may have at most
  double fill = 0.75;                 ///< results are cut down to this part of the window, so that the next steps need no cut
};
BOOST_DESCRIBE_STRUCT(context_spec, (), (summaries, summary_tokens, fill))

/// How an agent delegates (SEMANTICS 4).
struct delegate_spec {
  bool own_rights = false; ///< `rights: own`: whom it asks has all of its own tools, not only those that both have
  std::int64_t depth = 8;  ///< how far below a task of the workflow a delegated one may be
};
BOOST_DESCRIBE_STRUCT(delegate_spec, (), (own_rights, depth))

struct agent_spec {
  std::string name;
  std::string model; ///< a name of `models`
  std::string system;
  std::vector<std::string> tools;
  std::optional<double> temperature;
  std::int64_t max_tokens = 4096;
  milliseconds timeout{0};  ///< of one task on it; 0: none of its own
  std::int64_t crashes = 3; ///< deaths of its agent that one task may cause; one more and it is poison
  std::optional<output_spec> output;
  loop_spec loop;
  context_spec context;
  limits budget;                      ///< of all instances of this agent in one run
  std::string description;            ///< what it is good at: told to agents that may ask it
  std::vector<std::string> delegates; ///< agents that are its tools: `agent:NAME` in the file's `tools`
  delegate_spec delegate;
  std::vector<std::string> handoffs; ///< agents that it may give its task to
};
BOOST_DESCRIBE_STRUCT(agent_spec, (),
                      (name, model, system, tools, temperature, max_tokens, timeout, crashes, output, loop, context, budget, description,
                       delegates, delegate, handoffs))

enum class restart_strategy { one_for_one, one_for_all, rest_for_one };
BOOST_DESCRIBE_ENUM(restart_strategy, one_for_one, one_for_all, rest_for_one)
enum class restart_type { permanent, transient, temporary };
BOOST_DESCRIBE_ENUM(restart_type, permanent, transient, temporary)
enum class auto_shutdown_type { never, any_significant, all_significant };
BOOST_DESCRIBE_ENUM(auto_shutdown_type, never, any_significant, all_significant)
enum class child_kind { agent, pool, supervisor };
BOOST_DESCRIBE_ENUM(child_kind, agent, pool, supervisor)

/// How long a child may take to stop: a time, at once (`brutal_kill`), or as long as it takes (`infinity`, supervisors).
struct shutdown_spec {
  bool brutal_kill = false;
  bool infinity = false;
  milliseconds time{5'000};
};
BOOST_DESCRIBE_STRUCT(shutdown_spec, (), (brutal_kill, infinity, time))

struct supervisor_spec;

struct child_spec {
  std::string id; ///< unique among its siblings; the agent's, pool's or supervisor's name
  child_kind kind = child_kind::agent;
  std::int64_t size = 1; ///< members of a pool
  restart_type restart = restart_type::permanent;
  shutdown_spec shutdown;
  bool significant = false;
  std::vector<supervisor_spec> supervisor; ///< of a supervisor: exactly one
};

struct supervisor_spec {
  std::string name = "root";
  restart_strategy strategy = restart_strategy::one_for_one;
  std::int64_t max_restarts = 3;
  milliseconds within{5'000};
  auto_shutdown_type auto_shutdown = auto_shutdown_type::never;
  std::vector<child_spec> children;
};
BOOST_DESCRIBE_STRUCT(child_spec, (), (id, kind, size, restart, shutdown, significant, supervisor))
BOOST_DESCRIBE_STRUCT(supervisor_spec, (), (name, strategy, max_restarts, within, auto_shutdown, children))

/// How answers of several agents become one (SEMANTICS 6).
struct resolve_spec {
  std::string by;          ///< vote arbiter first human
  std::int64_t quorum = 0; ///< 0: more than half
  std::string field;       ///< JSON pointer or member that is compared; empty: the whole answer
  std::string arbiter;
  std::string tie; ///< arbiter human fail
};
BOOST_DESCRIBE_STRUCT(resolve_spec, (), (by, quorum, field, arbiter, tie))

struct when_spec {
  std::string task;
  json matches; ///< JSON Schema on that task's output
};
BOOST_DESCRIBE_STRUCT(when_spec, (), (task, matches))

enum class on_failure_type { fail, resume };
BOOST_DESCRIBE_ENUM(on_failure_type, fail, resume) // `continue` in the file: a keyword here

struct task_spec {
  std::string id;
  std::vector<std::string> needs; ///< explicit and implied by templates, without duplicates
  std::string agent;              ///< exactly one of agent, agents, workflow
  std::vector<std::string> agents;
  std::string workflow;
  std::optional<resolve_spec> resolve;
  std::string instruction;
  std::string for_each; ///< template that yields an array; empty: one task
  std::int64_t parallel = 8;
  std::optional<when_spec> when;
  std::optional<risk> approval;
  std::int64_t attempts = 1;
  on_failure_type on_failure = on_failure_type::fail;
  std::map<std::string, json> with; ///< of a sub-workflow: its input, strings are templates
  milliseconds timeout{0};
  limits budget;
};
BOOST_DESCRIBE_STRUCT(task_spec, (),
                      (id, needs, agent, agents, workflow, resolve, instruction, for_each, parallel, when, approval, attempts, on_failure,
                       with, timeout, budget))

struct workflow_spec {
  std::string name;
  json input_schema; ///< null: any object
  limits budget{usd{5'000'000}, milliseconds{300'000}, 50};
  std::vector<task_spec> tasks;
  std::string result; ///< template; empty: the last task's output
  std::string description;
};
BOOST_DESCRIBE_STRUCT(workflow_spec, (), (name, input_schema, budget, tasks, result, description))

struct journal_spec {
  std::string kind = "sqlite";
  std::string path; ///< absolute
  std::string url_env;
};
BOOST_DESCRIBE_STRUCT(journal_spec, (), (kind, path, url_env))

struct tenant_spec {
  std::string name;
  std::optional<usd> money;
  milliseconds per{86'400'000};
  std::int64_t max_running = 0;     ///< 0: any number
  std::optional<milliseconds> time; ///< like `money`: in each period
  std::optional<std::int64_t> steps;
};
BOOST_DESCRIBE_STRUCT(tenant_spec, (), (name, money, per, max_running, time, steps))

enum class notify_kind { webhook, slack, command };
BOOST_DESCRIBE_ENUM(notify_kind, webhook, slack, command)

/// One way to tell people. Addresses and keys that are secret are named by their environment variable.
struct notify_spec {
  notify_kind kind = notify_kind::webhook;
  std::string url; ///< of webhook and slack: this or `url_env`
  std::string url_env;
  std::string secret_env; ///< of webhook: the key of its signature
  std::vector<std::string> command;
};
BOOST_DESCRIBE_STRUCT(notify_spec, (), (kind, url, url_env, secret_env, command))

/// What happens to an action of each risk: "auto", "ask", or a number of approvals.
struct checkpoint_spec {
  milliseconds timeout{300'000};
  std::map<std::string, std::int64_t> approvals{{"low", 0}, {"medium", 0}, {"high", 1}, {"critical", 1}}; ///< by risk; 0: auto
  bool pause_clock = false; ///< waiting does not count against the run's time
  std::vector<notify_spec> notify;
};
BOOST_DESCRIBE_STRUCT(checkpoint_spec, (), (timeout, approvals, pause_clock, notify))

struct queue_spec {
  std::string kind = "embedded"; ///< embedded redis sqs postgres
  std::string url_env;
  std::string region; ///< of sqs
};
BOOST_DESCRIBE_STRUCT(queue_spec, (), (kind, url_env, region))

/// PEM files, absolute paths.
struct tls_spec {
  std::string cert;
  std::string key;
  std::string ca;
};
BOOST_DESCRIBE_STRUCT(tls_spec, (), (cert, key, ca))

struct node_spec {
  std::string name;   ///< empty: the host's name and port
  std::string listen; ///< address:port; empty: this process publishes nothing
  std::vector<std::string> join;
  std::optional<tls_spec> tls;
};
BOOST_DESCRIBE_STRUCT(node_spec, (), (name, listen, join, tls))

struct api_spec {
  std::string listen = "127.0.0.1:8080";
  std::string token_env;
  std::optional<tls_spec> tls;
};
BOOST_DESCRIBE_STRUCT(api_spec, (), (listen, token_env, tls))

struct metrics_spec {
  milliseconds retention{2'592'000'000}; ///< 30 days
  std::string otlp_url_env;              ///< empty: no export
};
BOOST_DESCRIBE_STRUCT(metrics_spec, (), (retention, otlp_url_env))

struct alert_spec {
  std::string metric;   ///< success_rate cost latency
  std::string workflow; ///< empty: all
  double drop = 0.05;   ///< of success_rate, absolute
  double rise = 0.5;    ///< of cost and latency, relative
  milliseconds window{86'400'000};
  milliseconds baseline{604'800'000};
  std::vector<notify_spec> notify;
};
BOOST_DESCRIBE_STRUCT(alert_spec, (), (metric, workflow, drop, rise, window, baseline, notify))

struct configuration {
  std::string file;   ///< absolute path of the file that was read
  std::string folder; ///< its folder: tools run there
  std::map<std::string, provider_spec> providers;
  std::map<std::string, model_spec> models;
  std::map<std::string, tool_spec> tools;
  std::map<std::string, agent_spec> agents;
  supervisor_spec supervision; ///< without one in the file: a pool of one for each agent, one_for_one
  std::map<std::string, workflow_spec> workflows;
  checkpoint_spec checkpoint;
  journal_spec journal;
  std::map<std::string, tenant_spec> tenants;
  limits process_budget; ///< top-level `budget`
  queue_spec queue;
  node_spec node;
  api_spec api;
  metrics_spec metrics;
  std::vector<alert_spec> alerts;
  json source; ///< the merged document as it was read, without resolved secrets: a run keeps it
};

} // namespace troupe
