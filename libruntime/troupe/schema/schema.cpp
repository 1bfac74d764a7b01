#include "troupe/schema/schema.hpp"

#include "troupe/schema/program.hpp"

namespace troupe::schema {

expected<compiled_schema> compiled_schema::compile(const json& schema, const std::vector<document>& documents) {
  auto program = std::make_shared<impl>();
  if (auto problems = compile_program(schema, documents, *program); !problems.empty())
    return tl::unexpected<error>(std::move(problems.front()));
  compiled_schema out;
  out.impl_ = std::move(program);
  return out;
}

tl::expected<compiled_schema, std::vector<error>> compiled_schema::compile_or_all_problems(const json& schema, std::size_t& pattern_cost) {
  auto program = std::make_shared<impl>();
  auto problems = compile_program(schema, {}, *program);
  pattern_cost += program->pattern_cost;
  if (!problems.empty())
    return tl::make_unexpected(std::move(problems));
  compiled_schema out;
  out.impl_ = std::move(program);
  return out;
}

std::vector<violation> compiled_schema::validate(const json& value, std::size_t limit) const {
  return run_program(*impl_, value, limit);
}

bool compiled_schema::is_valid(const json& value) const {
  return validate(value, 1).empty();
}

const std::vector<std::string>& compiled_schema::warnings() const {
  return impl_->warnings;
}

} // namespace troupe::schema
