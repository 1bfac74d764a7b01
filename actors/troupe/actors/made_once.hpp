#pragma once
// What is made of a name in a configuration once, and shared by all who need it: a pool of thousands has one list of tools, the runs of a
// workflow have one plan.

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"

namespace troupe::actors {

/// Any thread.
template <class T>
class made_once {
public:
  explicit made_once(std::shared_ptr<const configuration> config) : config_(std::move(config)) {}

  /// `make` gives an expected<std::shared_ptr<const T>>. Of another configuration (a stored one, of a run that is resumed) it is made anew.
  template <class Make>
  expected<std::shared_ptr<const T>> get(const std::shared_ptr<const configuration>& config, const std::string& name, Make make) {
    if (config != config_)
      return make();
    const std::lock_guard guard(mutex_);
    if (const auto found = made_.find(name); found != made_.end())
      return found->second;
    expected<std::shared_ptr<const T>> fresh = make();
    if (fresh)
      made_.emplace(name, *fresh);
    return fresh;
  }

private:
  const std::shared_ptr<const configuration> config_;
  std::mutex mutex_; // guards made_
  std::map<std::string, std::shared_ptr<const T>> made_;
};

} // namespace troupe::actors
