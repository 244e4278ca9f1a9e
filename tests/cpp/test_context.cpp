// lowbit_context, error messages, and parallel_for over a caller's own threads.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "context.hpp"
#include "error.hpp"
#include "parallel.hpp"
#include "test.hpp"

using namespace lowbit;

namespace {

// Calls task for one item after the other, last first, as thread n - 1 .. 0.
void backwards(void* pool, int64_t n, int max_threads, lowbit_task task, void* arg) {
  ++*static_cast<int*>(pool);
  for (int64_t i = n - 1; i >= 0; --i) task(arg, i, i + 1, static_cast<int>(i % max_threads));
}

lowbit_options options(int max_threads, int* calls) {
  lowbit_options result = {};
  result.struct_size = sizeof result;
  result.isa = "scalar";
  result.parallel_for = calls ? &backwards : nullptr;
  result.pool = calls;
  result.max_threads = max_threads;
  return result;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST(context_holds_what_the_options_say) {
  int calls = 0;
  const lowbit_options three = options(3, &calls);
  lowbit_context opaque;
  lowbit_error error = {LOWBIT_INVALID_TYPE, "old"};
  CHECK_EQ(lowbit_context_init(&opaque, &three, &error), LOWBIT_OK);
  CHECK_EQ(error.status, LOWBIT_OK);
  CHECK_EQ(std::string(error.message), "");
  CHECK_EQ(std::string(lowbit_context_isa(&opaque)), "scalar");
  const lowbit_context copy = opaque;  // plain data
  Context context;
  CHECK(get_context(&copy, &context, &error));
  CHECK(context.kernels == &kernels_scalar);
  CHECK(context.fn == &backwards);
  CHECK(context.pool == &calls);
  CHECK_EQ(context.max_threads, 3);
}

TEST(context_without_a_callback_has_one_thread) {
  const lowbit_options three = options(3, nullptr);
  lowbit_context opaque;
  Context context;
  CHECK_EQ(lowbit_context_init(&opaque, &three, nullptr), LOWBIT_OK);
  CHECK(get_context(&opaque, &context, nullptr));
  CHECK_EQ(context.max_threads, 1);
  CHECK_EQ(lowbit_context_init(&opaque, nullptr, nullptr), LOWBIT_OK);
  CHECK(get_context(&opaque, &context, nullptr));
  CHECK_EQ(context.max_threads, 1);
}

TEST(bad_options_are_refused) {
  lowbit_context context;
  lowbit_error error = {};
  lowbit_options bad = options(1, nullptr);
  CHECK_EQ(lowbit_context_init(nullptr, &bad, &error), LOWBIT_INVALID_VALUE);
  CHECK(contains(error.message, "context: got NULL"));
  for (const size_t size : {size_t{0}, sizeof bad - 1, sizeof bad + 8}) {
    bad.struct_size = size;
    CHECK_EQ(lowbit_context_init(&context, &bad, &error), LOWBIT_INVALID_VALUE);
    CHECK(contains(error.message, "options.struct_size: got " + std::to_string(size)));
  }
  for (const int threads : {0, -1}) {
    bad = options(threads, nullptr);
    CHECK_EQ(lowbit_context_init(&context, &bad, &error), LOWBIT_INVALID_VALUE);
    CHECK(contains(error.message, "options.max_threads: got " + std::to_string(threads) + ", expected at least 1"));
  }
  bad = options(1, nullptr);
  bad.isa = "sse9";
  CHECK_EQ(lowbit_context_init(&context, &bad, &error), LOWBIT_UNAVAILABLE);
  CHECK(contains(error.message, "'sse9'"));
  CHECK_EQ(lowbit_context_init(&context, &bad, nullptr), LOWBIT_UNAVAILABLE);
}

TEST(a_context_that_was_never_initialised_is_refused) {
  Context context;
  for (const int byte : {0x00, 0xff, 0x6c}) {
    lowbit_context garbage;
    std::memset(&garbage, byte, sizeof garbage);
    lowbit_error error = {};
    CHECK(!get_context(&garbage, &context, &error));
    CHECK_EQ(error.status, LOWBIT_INVALID_VALUE);
    CHECK(contains(error.message, "lowbit_context_init"));
    CHECK(lowbit_context_isa(&garbage) == nullptr);
  }
  CHECK(!get_context(nullptr, &context, nullptr));
  CHECK(lowbit_context_isa(nullptr) == nullptr);
}

TEST(a_long_message_is_cut_between_characters) {
  lowbit_error error;
  for (size_t length = 495; length < 530; ++length) {
    std::memset(&error, '#', sizeof error);
    CHECK_EQ(fail(&error, LOWBIT_INVALID_TYPE, "%s%s", std::string(length, 'x').c_str(), "\u2265\u2265\u2265"),
             LOWBIT_INVALID_TYPE);
    CHECK_EQ(error.status, LOWBIT_INVALID_TYPE);
    const std::string text = error.message;
    CHECK(text.size() < sizeof error.message);
    CHECK(text.size() >= std::min(length + 9, sizeof error.message - 4));
    const size_t marks = text.find_first_not_of('x') == std::string::npos ? 0 : text.size() - length;
    CHECK_EQ(marks % 3, size_t{0});
  }
  CHECK_EQ(fail(nullptr, LOWBIT_INVALID_TYPE, "%d", 1), LOWBIT_INVALID_TYPE);
  CHECK_EQ(ok(nullptr), LOWBIT_OK);
}

TEST(parallel_for_hands_items_to_the_callback) {
  int calls = 0;
  const lowbit_options four = options(4, &calls);
  lowbit_context opaque;
  Context context;
  lowbit_context_init(&opaque, &four, nullptr);
  CHECK(get_context(&opaque, &context, nullptr));
  std::vector<int> seen(10);
  parallel_for(context, 10, [&](int64_t begin, int64_t end, int thread_id) {
    CHECK_EQ(thread_id, begin % 4);
    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
  });
  CHECK_EQ(calls, 1);
  CHECK(seen == std::vector<int>(10, 1));
}

TEST(parallel_for_runs_small_loops_on_the_caller) {
  int calls = 0;
  for (const int threads : {1, 4}) {
    const lowbit_options some = options(threads, &calls);
    lowbit_context opaque;
    Context context;
    lowbit_context_init(&opaque, &some, nullptr);
    CHECK(get_context(&opaque, &context, nullptr));
    for (const int64_t n : {-1, 0, 1, 7}) {
      if (threads == 4 && n == 7) continue;
      int64_t items = 0;
      parallel_for(context, n, [&](int64_t begin, int64_t end, int thread_id) {
        CHECK_EQ(begin, 0);
        CHECK_EQ(thread_id, 0);
        items += end;
      });
      CHECK_EQ(items, n > 0 ? n : 0);
    }
  }
  CHECK_EQ(calls, 0);
}
