#pragma once
// A part of the document while it is read into the model. Reading a value of the wrong type leaves the target as it is and says
// nothing: the schema said it already. What a schema cannot say (a duration too long, money too fine) is said here.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/config/issue.hpp"
#include "troupe/model/described.hpp"
#include "troupe/model/money.hpp"

namespace troupe::config {

/// What a document is read with.
struct reading {
  issue_list issues;
  std::string folder;                                       ///< relative paths start here
  std::unordered_set<std::string> secret;                   ///< pointers whose text came from the environment: never quoted
  std::function<bool(const std::string& path)> is_readable; ///< empty: files are not looked at
};

/// A child of an absent part is absent.
class view {
public:
  view(reading& in, const json* value, std::string pointer) : in_(&in), value_(value), pointer_(std::move(pointer)) {}

  bool present() const { return value_ != nullptr; }
  bool is_object() const { return present() && value_->is_object(); }
  bool is_array() const { return present() && value_->is_array(); }
  bool is_string() const { return present() && value_->is_string(); }
  const json& value() const { return *value_; }
  const std::string& pointer() const { return pointer_; }
  reading& in() const { return *in_; }

  view operator[](std::string_view key) const;
  view element(std::size_t index) const;
  void each_member(const std::function<void(const std::string& name, const view& member)>& visit) const;
  void each_element(const std::function<void(std::size_t index, const view& element)>& visit) const;

  /// The text; null when it is none.
  const std::string* text() const { return is_string() ? &value_->get_ref<const std::string&>() : nullptr; }
  /// The text in quotes for a message; "the value" where it came from the environment.
  std::string shown() const;

  void read(std::string& into) const;
  void read(bool& into) const;
  void read(std::int64_t& into) const;
  void read(double& into) const;
  void read(std::vector<std::string>& into) const;
  void read(std::map<std::string, std::string>& into) const;
  void read(std::chrono::milliseconds& into) const;
  /// As above, and zero is refused.
  void read_positive(std::chrono::milliseconds& into) const;
  void read(usd& into) const;
  template <class T>
  void read(std::optional<T>& into) const {
    if (!present())
      return;
    T value{};
    read(value);
    into = value;
  }
  template <detail::described_enum E>
  void read(E& into) const {
    if (const auto* name = text())
      if (const auto found = enum_named<E>(*name))
        into = *found;
  }
  /// Bytes: `512MiB`, or a number.
  void read_size(std::int64_t& into) const;
  /// Absolute and normal.
  void read_path(std::string& into) const;
  void read_paths(std::vector<std::string>& into) const;

  void wrong(std::string message) const { in_->issues.error({pointer_, std::move(message), false}); }
  /// The name itself is wrong, or something is missing in this part.
  void wrong_key(std::string message) const { in_->issues.error({pointer_, std::move(message), true}); }
  void warn(std::string message) const { in_->issues.warning({pointer_, std::move(message), false}); }
  void warn_key(std::string message) const { in_->issues.warning({pointer_, std::move(message), true}); }

private:
  reading* in_;
  const json* value_;
  std::string pointer_;
};

/// A shell would put a home folder in the place of its `~`. Nothing does so here: such a path is refused.
bool begins_at_home(std::string_view path);

/// Exact micro-dollars of a decimal number of dollars; a problem's words otherwise (negative, finer than a micro-dollar, beyond a
/// billion).
std::optional<usd> money_of(const json& value, std::string& problem);

} // namespace troupe::config
