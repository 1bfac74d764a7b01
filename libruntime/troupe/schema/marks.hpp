#pragma once
// Which items or members of one array or object some schema has looked at: what unevaluatedItems and unevaluatedProperties ask.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace troupe::schema {

/// A set of positions; the first 64 need no memory of their own.
class marks {
public:
  void add(std::size_t position) {
    if (position < 64) {
      first_ |= std::uint64_t{1} << position;
      return;
    }
    const auto word = position / 64 - 1;
    if (word >= rest_.size())
      rest_.resize(word + 1);
    rest_[word] |= std::uint64_t{1} << (position % 64);
  }
  void add_all() { all_ = true; }
  bool has(std::size_t position) const {
    if (all_)
      return true;
    if (position < 64)
      return (first_ >> position & 1) != 0;
    const auto word = position / 64 - 1;
    return word < rest_.size() && (rest_[word] >> (position % 64) & 1) != 0;
  }
  void merge(const marks& other) {
    all_ = all_ || other.all_;
    first_ |= other.first_;
    if (rest_.size() < other.rest_.size())
      rest_.resize(other.rest_.size());
    for (std::size_t i = 0; i < other.rest_.size(); ++i)
      rest_[i] |= other.rest_[i];
  }

private:
  bool all_ = false;
  std::uint64_t first_ = 0;
  std::vector<std::uint64_t> rest_;
};

} // namespace troupe::schema
