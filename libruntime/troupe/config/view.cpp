#include "troupe/config/view.hpp"

#include <charconv>
#include <cmath>
#include <filesystem>

#include "troupe/util/duration.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

constexpr std::int64_t most_dollars = 1'000'000'000;

std::string absolute_path(const std::string& folder, const std::string& path) {
  return (std::filesystem::path(folder) / path).lexically_normal().string();
}

std::optional<usd> money_of_text(std::string_view text, std::string& problem) {
  const auto point = text.find('.');
  const auto whole = text.substr(0, point);
  auto fraction = point == std::string_view::npos ? std::string() : std::string(text.substr(point + 1));
  std::int64_t dollars = 0;
  std::int64_t micro = 0;
  const auto digits = [](std::string_view part, std::int64_t& into) {
    const auto [end, code] = std::from_chars(part.data(), part.data() + part.size(), into);
    return code == std::errc{} && end == part.data() + part.size() && part.front() != '-';
  };
  if (whole.empty() || whole.size() > 10 || !digits(whole, dollars) || (point != std::string_view::npos && fraction.empty())) {
    problem = in_quotes(text) + " is no amount of US dollars; write a decimal number, as in 5.00";
    return std::nullopt;
  }
  if (fraction.size() > 6) {
    problem = in_quotes(text) + " is finer than a millionth of a dollar; round it to six decimals";
    return std::nullopt;
  }
  fraction.resize(6, '0');
  if (!digits(fraction, micro)) {
    problem = in_quotes(text) + " is no amount of US dollars; write a decimal number, as in 5.00";
    return std::nullopt;
  }
  if (dollars > most_dollars || (dollars == most_dollars && micro > 0)) {
    problem = "more than a billion dollars";
    return std::nullopt;
  }
  return usd{dollars * 1'000'000 + micro};
}

} // namespace

std::optional<usd> money_of(const json& value, std::string& problem) {
  if (value.is_string())
    return money_of_text(value.get_ref<const std::string&>(), problem);
  if (!value.is_number())
    return std::nullopt;
  const auto dollars = value.get<double>();
  if (dollars < 0) {
    problem = "an amount of money cannot be negative";
    return std::nullopt;
  }
  if (dollars > static_cast<double>(most_dollars)) {
    problem = "more than a billion dollars";
    return std::nullopt;
  }
  // A double holds a decimal of up to fifteen digits well enough that the nearest millionth is the one that was written.
  const double scaled = dollars * 1e6;
  const double nearest = std::round(scaled);
  if (std::abs(scaled - nearest) > 1e-3 + std::abs(scaled) * 1e-15) {
    problem = value.dump() + " is finer than a millionth of a dollar; round it to six decimals";
    return std::nullopt;
  }
  return usd{static_cast<std::int64_t>(nearest)};
}

view view::operator[](std::string_view key) const {
  const json* found = nullptr;
  if (is_object()) {
    const auto at = value_->find(key);
    if (at != value_->end())
      found = &*at;
  }
  return {*in_, found, child_of(pointer_, key)};
}

view view::element(std::size_t index) const {
  return {*in_, is_array() && index < value_->size() ? &(*value_)[index] : nullptr, child_of(pointer_, index)};
}

void view::each_member(const std::function<void(const std::string&, const view&)>& visit) const {
  if (!is_object())
    return;
  for (const auto& [name, value] : value_->items())
    visit(name, view(*in_, &value, child_of(pointer_, name)));
}

void view::each_element(const std::function<void(std::size_t, const view&)>& visit) const {
  if (!is_array())
    return;
  for (std::size_t i = 0; i < value_->size(); ++i)
    visit(i, element(i));
}

std::string view::shown() const {
  if (in_->secret.count(pointer_) > 0)
    return "the value";
  return is_string() ? in_quotes(*text()) : "the value";
}

void view::read(std::string& into) const {
  if (const auto* found = text())
    into = *found;
}

void view::read(bool& into) const {
  if (present() && value_->is_boolean())
    into = value_->get<bool>();
}

void view::read(std::int64_t& into) const {
  if (!present())
    return;
  if (value_->is_number_integer())
    into = value_->get<std::int64_t>();
  else if (value_->is_number_float() && std::floor(value_->get<double>()) == value_->get<double>()
           && std::abs(value_->get<double>()) < 1e15)
    into = static_cast<std::int64_t>(value_->get<double>()); // 1.0 is an integer to JSON Schema
}

void view::read(double& into) const {
  if (present() && value_->is_number())
    into = value_->get<double>();
}

void view::read(std::vector<std::string>& into) const {
  if (!is_array())
    return;
  into.clear();
  for (const auto& each : *value_)
    if (each.is_string())
      into.push_back(each.get_ref<const std::string&>());
}

void view::read(std::map<std::string, std::string>& into) const {
  if (!is_object())
    return;
  for (const auto& [key, each] : value_->items())
    if (each.is_string())
      into[key] = each.get_ref<const std::string&>();
}

void view::read(std::chrono::milliseconds& into) const {
  const auto* found = text();
  if (found == nullptr)
    return;
  if (const auto time = parse_duration(*found))
    into = *time;
  else
    wrong(in_->secret.count(pointer_) > 0 ? "the variable's value is no duration; it is a whole number and a unit, as in 10s"
                                          : time.error().message);
}

void view::read_positive(std::chrono::milliseconds& into) const {
  auto time = into;
  read(time);
  if (is_string() && time.count() == 0)
    wrong("a time of zero leaves nothing to work with; write a longer one, as in 10s");
  else
    into = time;
}

void view::read(usd& into) const {
  if (!present())
    return;
  std::string problem;
  if (const auto amount = money_of(*value_, problem))
    into = *amount;
  else if (!problem.empty())
    wrong(problem);
}

void view::read_size(std::int64_t& into) const {
  if (!present())
    return;
  if (value_->is_number()) {
    read(into);
    return;
  }
  const auto* found = text();
  if (found == nullptr)
    return;
  struct unit {
    std::string_view name;
    std::int64_t bytes;
  };
  static constexpr unit units[] = {{"B", 1},      {"KiB", 1LL << 10}, {"MiB", 1LL << 20},   {"GiB", 1LL << 30},
                                   {"kB", 1'000}, {"MB", 1'000'000},  {"GB", 1'000'000'000}};
  std::int64_t count = 0;
  const auto [end, code] = std::from_chars(found->data(), found->data() + found->size(), count);
  const std::string_view name(end, static_cast<std::size_t>(found->data() + found->size() - end));
  for (const auto& each : units) {
    if (code != std::errc{} || count < 1 || name != each.name)
      continue;
    if (count > (1LL << 50) / each.bytes)
      break;
    into = count * each.bytes;
    return;
  }
  wrong(in_quotes(*found) + " is no size between 1B and 1 PiB; write a whole number and a unit, as in 512MiB");
}

bool begins_at_home(std::string_view path) {
  return path == "~" || path.starts_with("~/");
}

void view::read_path(std::string& into) const {
  const auto* found = text();
  if (found == nullptr)
    return;
  if (found->find('\0') != std::string::npos || found->size() >= 4096 || found->empty())
    wrong("the path is empty, or longer than 4,095 bytes");
  else if (begins_at_home(*found))
    wrong("no shell reads this path, and \"~\" is no home folder here; write the whole path, or begin with ./~ for what is named so");
  else
    into = absolute_path(in_->folder, *found);
}

void view::read_paths(std::vector<std::string>& into) const {
  if (!is_array())
    return;
  into.clear();
  each_element([&](std::size_t, const view& each) {
    std::string path;
    each.read_path(path);
    if (!path.empty())
      into.push_back(std::move(path));
  });
}

} // namespace troupe::config
