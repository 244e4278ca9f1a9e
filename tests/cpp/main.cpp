// Runs all tests of the program, or those whose name contains argv[1]. Ends with "N passed, N failed"; the exit status
// is 0 only if some test ran and none failed.
#include <cstdio>
#include <cstring>
#include <mutex>

#include "test.hpp"

namespace test {
namespace {

constexpr int kShown = 20;  // failures printed for each test: a broken kernel fails at every element

Test* first = nullptr;
Test** last = &first;
const char* running = "";
std::mutex mutex;  // guards failures and the output
int failures = 0;

}  // namespace

Test::Test(const char* test_name, void (*test_body)()) : name(test_name), body(test_body) {
  *last = this;
  last = &next;
}

void failed(const char* file, int line, const std::string& what) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (failures++ < kShown) {
    std::printf("%s:%d: %s: %s\n", file, line, running, what.c_str());
    std::fflush(stdout);
  }
}

}  // namespace test

int main(int argc, char** argv) {
  int passed = 0;
  int failed = 0;
  for (const test::Test* t = test::first; t; t = t->next) {
    if (argc > 1 && !std::strstr(t->name, argv[1])) continue;
    test::running = t->name;
    test::failures = 0;
    t->body();
    if (test::failures > test::kShown) std::printf("%s: %d failures in all\n", t->name, test::failures);
    ++(test::failures ? failed : passed);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return passed > 0 && failed == 0 ? 0 : 1;
}
