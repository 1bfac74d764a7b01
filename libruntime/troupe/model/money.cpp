#include "troupe/model/money.hpp"

namespace troupe {

std::string to_string(usd amount) {
  const bool negative = amount.micro < 0;
  const auto absolute = negative ? 0 - static_cast<std::uint64_t>(amount.micro) : static_cast<std::uint64_t>(amount.micro);
  std::string fraction = std::to_string(absolute % 1'000'000);
  fraction.insert(0, 6 - fraction.size(), '0');
  while (fraction.size() > 2 && fraction.back() == '0')
    fraction.pop_back();
  return std::string(negative ? "-$" : "$") + std::to_string(absolute / 1'000'000) + "." + fraction;
}

} // namespace troupe
