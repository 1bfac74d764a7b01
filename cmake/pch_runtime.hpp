// Precompiled for libruntime: what nearly every file there includes anyway.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include <boost/describe.hpp>
#include <nlohmann/json.hpp>
#include <tl/expected.hpp>
