#pragma once
// The test framework, behind one header: CAF's own, whichever version is built against.
//
//   TROUPE_SUITE(retry)
//   TROUPE_TEST("a fatal error is never retried") { CHECK_EQ(classify(401), error_class::fail_over); }
//
// CHECK goes on after a failure, REQUIRE ends the test. CHECK_EQ prints both sides where they print.

#include <sstream>
#include <string>
#include <type_traits>

#include "caf/test/unit_test.hpp"

namespace troupe::test {

template <class T>
std::string show(const T& value) {
  if constexpr (requires(std::ostringstream & out) { out << value; }) {
    std::ostringstream out;
    out << value;
    return out.str();
  } else if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<long long>(value));
  } else {
    return "<value>";
  }
}

template <class A, class B>
bool equal(const A& a, const B& b) {
  if constexpr (std::is_integral_v<A> && std::is_integral_v<B> && !std::is_same_v<A, bool> && !std::is_same_v<B, bool>)
    return std::cmp_equal(a, b);
  else
    return a == b;
}

} // namespace troupe::test

#define TROUPE_SUITE(name)                                                                                                                 \
  namespace {                                                                                                                              \
  constexpr const char* troupe_suite = #name;                                                                                              \
  using troupe_fixture = caf_test_case_auto_fixture;                                                                                       \
  }

/// A test case; its name is a sentence. `TROUPE_TEST_WITH` runs inside a fixture.
#define TROUPE_TEST_WITH(fixture, name)                                                                                                    \
  namespace {                                                                                                                              \
  struct CAF_UNIQUE(test) : fixture {                                                                                                      \
    void run_test_impl();                                                                                                                  \
  };                                                                                                                                       \
  ::caf::test::detail::adder<::caf::test::test_impl<CAF_UNIQUE(test)>> CAF_UNIQUE(add){troupe_suite, name, false};                         \
  }                                                                                                                                        \
  void CAF_UNIQUE(test)::run_test_impl()
#define TROUPE_TEST(name) TROUPE_TEST_WITH(caf_test_case_auto_fixture, name)

#define CHECK(...) CAF_CHECK((__VA_ARGS__))
#define REQUIRE(...) CAF_REQUIRE((__VA_ARGS__))
#define CHECK_EQ(left, right)                                                                                                              \
  do {                                                                                                                                     \
    /* copies: a part of a temporary, as in f().error().message, would dangle */                                                           \
    const auto left_value = (left);                                                                                                        \
    const auto right_value = (right);                                                                                                      \
    if (!::troupe::test::equal(left_value, right_value)) {                                                                                 \
      CAF_TEST_PRINT_ERROR(#left " == " #right ": " << ::troupe::test::show(left_value) << " != " << ::troupe::test::show(right_value));   \
    }                                                                                                                                      \
    CAF_CHECK(::troupe::test::equal(left_value, right_value));                                                                             \
  } while (false)
/// Says in which row of a table a check failed.
#define IN_ROW(name) CAF_MESSAGE(name)
