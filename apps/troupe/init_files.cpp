#include "init_files.hpp"

namespace troupe::cli {

namespace {

constexpr const char* config_text = R"yaml(# A company of two agents. Check it: troupe validate troupe.yaml
version: 1

providers:
  # A rehearsal: answers come from a script; no key, no network. For a real model, take one of
  #   openai: { kind: openai,    api_key_env: OPENAI_API_KEY }
  #   claude: { kind: anthropic, api_key_env: ANTHROPIC_API_KEY }
  rehearsal: { kind: scripted, script: scripts/greet.yaml }

models:
  # A model is a fail-over chain, tried in order. A real one needs its price:
  #   - { provider: openai, model: gpt-4o, usd_per_mtok: { input: 2.50, output: 10.00 } }
  default:
    chain:
      - { provider: rehearsal, model: rehearsal }

tools:
  read_file: { kind: builtin, root: ./data }   # confined to this folder
  count_words:
    kind: process                              # its own process, in a sandbox, never through a shell
    description: Number of words in a file of the data folder
    command: [wc, -w, "data/{{ file }}"]
    parameters:
      type: object
      required: [file]
      properties: { file: { type: string, pattern: "^[a-z.]+$" } }
    effect: none                               # a repeat does nothing: it may be retried

agents:
  reader:
    model: default
    system: You read files and report facts.
    tools: [read_file, count_words]
  greeter:
    model: default
    system: You greet people warmly and briefly.
    output: { min_length: 5, must_mention: [Hello] }   # its contract: else it is asked again

# Who restarts whom. Without this, every agent gets a pool of one.
supervision:
  name: root
  strategy: one_for_one
  children:
    - { pool: reader, size: 2 }
    - { agent: greeter }

workflows:
  greet:
    input: { schema: { type: object, required: [name], properties: { name: { type: string } } } }
    budget: { usd: 1.00, time: 2m, steps: 20 }
    tasks:
      - id: look
        agent: reader
        instruction: What does welcome.txt say, and how long is it?
      - id: greet
        agent: greeter
        instruction: "Greet {{ input.name }}. Known: {{ tasks.look.output }}"
    result: "{{ tasks.greet.output }}"
)yaml";

constexpr const char* script_text =
    R"yaml(# What the rehearsal answers: rules tried in order, the first that matches. See docs/rehearsals.md.
version: 1
rules:
  - when: { agent: reader, turn: 1 }
    reply:
      tool_calls:
        - { name: read_file, arguments: { path: welcome.txt } }
        - { name: count_words, arguments: { file: welcome.txt } }
  - when: { agent: reader }
    capture:
      words: { from: "tool:count_words", pattern: "([0-9]+)" }
    reply: { text: "welcome.txt has {{ captured.words }} words." }
  - when: { agent: greeter }
    capture:
      name: { from: last, pattern: "Greet ([^.]+)\\." }
      fact: { from: last, pattern: "Known: (.+)" }
    reply: { text: "Hello {{ captured.name }}! I had a look around: {{ captured.fact }}" }
)yaml";

constexpr const char* welcome_text = "Welcome to Troupe. Agents live here, supervised and within their budget.\n";

} // namespace

const std::vector<init_file>& init_files() {
  static const std::vector<init_file> files{
      {"troupe.yaml", config_text}, {"scripts/greet.yaml", script_text}, {"data/welcome.txt", welcome_text}};
  return files;
}

} // namespace troupe::cli
