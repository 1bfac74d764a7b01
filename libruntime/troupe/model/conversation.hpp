#pragma once
// A conversation is a list of shared immutable messages that only grows. A copy shares all of them and costs the same however long the
// list is: each step's request holds one. What a request of it is bounded by is summed while it grows.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <string_view>
#include <vector>

#include "troupe/model/message.hpp"

namespace troupe {

/// Sums over all messages (null ones count nothing).
struct conversation_totals {
  std::int64_t bytes = 0;         ///< of texts, ids of results, and calls' ids, names and arguments
  std::int64_t content_bytes = 0; ///< the same without ids
  std::int64_t characters = 0;    ///< code points of texts and of calls' names and arguments
  std::int64_t answers = 0;       ///< messages from the assistant
  std::int64_t calls = 0;         ///< tool calls in them
};

/// Copies may be read and appended to on different threads: appending to one is never seen in another.
class conversation {
  static constexpr std::size_t chunk_size = 32;
  static constexpr std::size_t first_room = 6; ///< of a new conversation's chunk: most are short
  struct chunk;
  struct full_chunk;
  using chunk_list = std::vector<full_chunk>;

public:
  using value_type = message_ptr;
  using size_type = std::size_t;

  class const_iterator {
  public:
    using iterator_category = std::random_access_iterator_tag;
    using value_type = message_ptr;
    using difference_type = std::ptrdiff_t;
    using pointer = const message_ptr*;
    using reference = const message_ptr&;

    const_iterator() = default;
    const_iterator(const conversation* list, std::size_t at) : list_(list), at_(at) {}
    reference operator*() const { return (*list_)[at_]; }
    pointer operator->() const { return &(*list_)[at_]; }
    reference operator[](difference_type n) const { return *(*this + n); }
    const_iterator& operator++() { return ++at_, *this; }
    const_iterator& operator--() { return --at_, *this; }
    const_iterator operator++(int) { return {list_, at_++}; }
    const_iterator operator--(int) { return {list_, at_--}; }
    const_iterator& operator+=(difference_type n) { return at_ += static_cast<std::size_t>(n), *this; }
    const_iterator& operator-=(difference_type n) { return at_ -= static_cast<std::size_t>(n), *this; }
    friend const_iterator operator+(const_iterator i, difference_type n) { return i += n; }
    friend const_iterator operator+(difference_type n, const_iterator i) { return i += n; }
    friend const_iterator operator-(const_iterator i, difference_type n) { return i -= n; }
    friend difference_type operator-(const const_iterator& a, const const_iterator& b) {
      return static_cast<difference_type>(a.at_) - static_cast<difference_type>(b.at_);
    }
    friend bool operator==(const const_iterator& a, const const_iterator& b) { return a.at_ == b.at_; }
    friend auto operator<=>(const const_iterator& a, const const_iterator& b) { return a.at_ <=> b.at_; }

  private:
    const conversation* list_ = nullptr;
    std::size_t at_ = 0;
  };
  using iterator = const_iterator;
  using const_reverse_iterator = std::reverse_iterator<const_iterator>;

  conversation() = default;
  conversation(std::initializer_list<message_ptr> messages) { append(messages.begin(), messages.end()); }
  template <class Iterator>
  conversation(Iterator first, Iterator last) {
    append(first, last);
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  /// `at` < size(). The reference holds while this list, or a copy of it, lives.
  const message_ptr& operator[](std::size_t at) const;
  const message_ptr& front() const { return (*this)[0]; }
  const message_ptr& back() const { return (*this)[size_ - 1]; }
  const_iterator begin() const { return {this, 0}; }
  const_iterator end() const { return {this, size_}; }
  const_reverse_iterator rbegin() const { return const_reverse_iterator(end()); }
  const_reverse_iterator rend() const { return const_reverse_iterator(begin()); }

  void push_back(message_ptr message);
  template <class Iterator>
  void append(Iterator first, Iterator last) {
    for (; first != last; ++first)
      push_back(*first);
  }
  void append(const conversation& more) { append(more.begin(), more.end()); }
  void clear() { *this = {}; }

  const conversation_totals& totals() const { return totals_; }
  /// Whether one of its tool calls has this id. Looks at the ids' hashes, not at all messages.
  bool has_call(std::string_view id) const;

  friend bool operator==(const conversation& a, const conversation& b);

private:
  std::shared_ptr<const chunk_list> full_; ///< all chunks but the last
  std::shared_ptr<chunk> last_;            ///< shared with copies; each slot of it is written once
  std::size_t size_ = 0;
  conversation_totals totals_;
};

} // namespace troupe
