#include "mock_llm/wire_json.hpp"

namespace troupe::mock_llm {

parse_memory::parse_memory() : state_(std::make_unique<state>()) {}
parse_memory::~parse_memory() = default;

std::optional<wire_error> read_body(vendor from, std::string_view body, parse_memory& memory, wire_request& into) {
  auto& state = memory.get();
  state.document.reset();
  state.resource.emplace(state.first.data(), state.first.size());
  boost::json::parse_options options;
  options.max_depth = 128;
  boost::json::error_code problem;
  state.document.emplace(boost::json::parse({body.data(), body.size()}, problem, &*state.resource, options));
  const bool openai = from == vendor::openai;
  if (problem || !state.document->is_object()) {
    const std::string why = problem ? problem.message() : "the body is no JSON object";
    if (openai)
      return wire_error{400,
                        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
                        "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON: "
                            + why + ".)",
                        "invalid_request_error", "", ""};
    return wire_error{400, "The request body is not valid JSON: " + why, "invalid_request_error", "", ""};
  }
  const auto& document = state.document->get_object();
  return openai ? read_openai(document, into) : read_anthropic(document, into);
}

} // namespace troupe::mock_llm
