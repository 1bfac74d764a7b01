#include "test.hpp"

#include "troupe/tools/calculator.hpp"

TROUPE_SUITE(tools_calculator)

using troupe::tools::calculate;

TROUPE_TEST("expressions have the values that people expect") {
  struct row {
    const char* expression;
    const char* value;
  };
  for (const auto& [expression, value] : {
           row{"1+2*3", "7"},
           row{"(1+2)*3", "9"},
           row{" 0.1 + 0.2 ", "0.3"},
           row{"0.1+0.2-0.3", "0"},
           row{"1.1*1.1", "1.21"},
           row{"10/4", "2.5"},
           row{"10/5", "2"},
           row{"1/3", "0.333333333333333"},
           row{"2/3", "0.666666666666667"},
           row{"-2^2", "-4"},
           row{"(-2)^2", "4"},
           row{"2^-2", "0.25"},
           row{"2^3^2", "512"},
           row{"2**10", "1024"},
           row{"2 * -3", "-6"},
           row{"--3", "3"},
           row{"7%3", "1"},
           row{"-7%3", "-1"},
           row{"7.5%2", "1.5"},
           row{"123456789*987654321", "121932631112635269"},
           row{"9223372036854775807+0", "9223372036854775807"},
           row{"9223372036854775807+1", "9.22337203685478e+18"},
           row{"2^63", "9.22337203685478e+18"},
           row{"-9223372036854775807-1", "-9223372036854775808"},
           row{"(-9223372036854775807-1)/-1", "9.22337203685478e+18"},
           row{"(-9223372036854775807-1)%-1", "0"},
           row{"-(-9223372036854775807-1)", "9.22337203685478e+18"},
           row{"1e3", "1000"},
           row{".5", "0.5"},
           row{"1e308*10/10", "1e+308"},
           row{"sqrt(16)", "4"},
           row{"sqrt(2)", "1.4142135623731"},
           row{"sqrt(2)^2", "2"},
           row{"abs(-3)", "3"},
           row{"round(2.5)", "3"},
           row{"floor(-2.5)", "-3"},
           row{"ln(e)", "1"},
           row{"log(1000)", "3"},
           row{"log2(1024)", "10"},
           row{"sin(pi)", "0"},
           row{"cos(pi)", "-1"},
           row{"tan(pi)", "0"},
           row{"exp(-50)", "1.92874984796392e-22"},
           row{"sqrt(1e-38)", "1e-19"},
           row{"abs(0.0000000000000000005)*1e20", "50"},
           row{"pi", "3.14159265358979"},
           row{"min(3, 1, 2)", "1"},
           row{"max(3, 1, 2)", "3"},
           row{"pow(2, 10)", "1024"},
           row{"mod(7, 3)", "1"},
           row{"0*-1", "0"},
           row{"-0.0", "0"},
       }) {
    IN_ROW(expression);
    const auto result = calculate(expression);
    CHECK_EQ(result ? *result : result.error().message, value);
  }
}

TROUPE_TEST("what is no expression is told with its position") {
  struct row {
    const char* expression;
    const char* words;
  };
  for (const auto& [expression, words] : {
           row{"", "position 1: expected a number, a name or \"(\", found the end"},
           row{"1+", "position 3: expected a number, a name or \"(\", found the end"},
           row{"1 2", "position 3: expected an operator or the end, found \"2\""},
           row{"(1", "position 3: expected \")\", found the end"},
           row{"1)", "position 2: expected an operator or the end, found \")\""},
           row{"1,000", "position 2: a comma does not belong here; write numbers without thousands separators"},
           row{"1/0", "position 4: division by zero"},
           row{"1%0", "position 4: the remainder of a division by zero"},
           row{"0^-1", "position 5: division by zero"},
           row{"sqrt(-1)", "position 9: the result is no real number"},
           row{"(-1)^0.5", "position 9: the result is no real number"},
           row{"10^10^10^10", "position 12: the result is too large"},
           row{"10^400", "the result is too large"},
           row{"squrt(2)", "position 1: there is no \"squrt\"; did you mean \"sqrt\"?"},
           row{"system(1)", "position 1: there is no \"system\""},
           row{"sqrt 2", "position 6: expected \"(\" after sqrt, found \"2\""},
           row{"sqrt(1, 2)", "position 10: sqrt takes one value"},
           row{"pow(1)", "position 7: pow takes two values"},
           row{"1\xC3\x97"
               "2",
               "position 2: expected an operator or the end, found a character that is not ASCII"},
           row{".", "position 1: expected a number, found \".\""},
           row{"1e999999", "position 1: the number is too large or too small"},
       }) {
    IN_ROW(expression);
    const auto result = calculate(expression);
    CHECK_EQ(result ? *result : result.error().message, words);
  }
}

TROUPE_TEST("length and depth are bounded") {
  const auto repeat = [](std::size_t times, const char* what, const char* middle, const char* after = "") {
    std::string out;
    for (std::size_t i = 0; i < times; ++i)
      out.append(what);
    out.append(middle);
    for (std::size_t i = 0; i < times; ++i)
      out.append(after);
    return out;
  };
  CHECK(!calculate(repeat(5'000, "1", "")));
  CHECK_EQ(*calculate(repeat(2'000, "-", "1")), "1");
  CHECK_EQ(*calculate(repeat(99, "(", "1", ")")), "1");
  CHECK_EQ(calculate(repeat(2'000, "(", "1")).error().message, "position 101: more than 100 levels of nesting");
  CHECK(!calculate(repeat(2'000, "1^", "1")));
}
