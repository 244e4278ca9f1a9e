// A test harness in one page: TEST(name) { CHECK(condition); CHECK_EQ(got, expected); }
#pragma once

#include <atomic>
#include <sstream>
#include <string>
#include <type_traits>

namespace test {

struct Test {
  Test(const char* test_name, void (*test_body)());  // registers itself
  const char* name;
  void (*body)();
  Test* next = nullptr;
};

// Notes a failure of the running test, from any thread.
void failed(const char* file, int line, const std::string& what);

template <typename T>
std::string show(const T& value) {
  std::ostringstream out;
  if constexpr (std::is_floating_point_v<T>) out.precision(std::is_same_v<T, float> ? 9 : 17);
  if constexpr (std::is_enum_v<T>) {
    out << +static_cast<std::underlying_type_t<T>>(value);
  } else if constexpr (std::is_arithmetic_v<T>) {
    out << +value;  // int8_t as a number
  } else {
    out << value;
  }
  return out.str();
}

template <typename A, typename B>
void check_eq(const A& a, const B& b, const char* a_text, const char* b_text, const char* file, int line) {
  if (!(a == b)) failed(file, line, std::string(a_text) + " == " + b_text + ": " + show(a) + " vs " + show(b));
}

}  // namespace test

#define TEST(name)                                        \
  static void test_##name();                              \
  static test::Test register_##name(#name, &test_##name); \
  static void test_##name()

#define CHECK(...)                                                      \
  do {                                                                  \
    if (!(__VA_ARGS__)) test::failed(__FILE__, __LINE__, #__VA_ARGS__); \
  } while (false)

#define CHECK_EQ(a, b) test::check_eq((a), (b), #a, #b, __FILE__, __LINE__)
