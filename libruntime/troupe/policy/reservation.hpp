#pragma once
// A reservation is a value that gives itself back (as Seastar's semaphore_units), so that no path forgets it.

#include <functional>
#include <string>
#include <utility>

#include "troupe/model/budget.hpp"

namespace troupe::policy {

/// What a guard has set aside for one LLM request. Move-only. `give_back` is called exactly once, with what was really spent:
///   settle(actual)       the response came: `actual`
///   release()            nothing was sent: nothing
///   it dies after sent() nobody knows the outcome: the whole amount, which is the worst case
///   it dies before       nothing
/// `give_back` must not throw: it may be called from a destructor. It usually sends one message to the guard.
class reservation {
public:
  using give_back_function = std::function<void(const std::string& id, spend actual)>;

  /// Holds nothing.
  reservation() = default;
  reservation(std::string id, spend amount, give_back_function give_back)
      : id_(std::move(id)), amount_(amount), give_back_(std::move(give_back)) {}

  reservation(reservation&& other) noexcept { swap(other); }
  reservation& operator=(reservation&& other) noexcept {
    reservation taken(std::move(other));
    swap(taken); // what this one held dies with `taken`
    return *this;
  }
  reservation(const reservation&) = delete;
  reservation& operator=(const reservation&) = delete;
  ~reservation() { finish(sent_ ? amount_ : spend{}); }

  /// True while there is something to give back.
  explicit operator bool() const { return static_cast<bool>(give_back_); }
  const std::string& id() const { return id_; }
  spend amount() const { return amount_; }

  /// The request is about to leave: from now on its cost is unknown until it settles.
  void sent() { sent_ = true; }
  void settle(spend actual) { finish(actual); }
  void release() { finish({}); }

private:
  void finish(spend actual) {
    if (auto give_back = std::exchange(give_back_, nullptr))
      give_back(id_, actual);
  }
  void swap(reservation& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(amount_, other.amount_);
    std::swap(give_back_, other.give_back_);
    std::swap(sent_, other.sent_);
  }

  std::string id_;
  spend amount_;
  give_back_function give_back_;
  bool sent_ = false;
};

} // namespace troupe::policy
