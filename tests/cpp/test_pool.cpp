// The default pool: coverage, thread ids, nesting, concurrent callers (bug classes 2, 26, 30).
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "pool.hpp"
#include "pool_checks.hpp"
#include "test.hpp"

using lowbit::Pool;
using test::all_take_part;
using test::busy_wait;
using test::covers;
using test::run;

TEST(every_item_runs_once) {
  for (int threads = 1; threads <= 16; ++threads)
    for (const int64_t n : {0, 1, 2, 3, 5, 8, 15, 16, 17, 33, 64, 127, 1000, 65537}) CHECK(covers(n, threads));
}

TEST(no_items_no_calls) {
  for (const int64_t n : {int64_t{0}, int64_t{-1}, INT64_MIN}) run(n, 4, [&](int64_t, int64_t, int) { CHECK(false); });
}

TEST(one_thread_runs_everything_in_one_call) {
  for (const int64_t n : {int64_t{7}, int64_t{1} << 40, INT64_MAX}) {
    int calls = 0;
    run(n, 1, [&](int64_t begin, int64_t end, int thread_id) {
      CHECK_EQ(begin, 0);
      CHECK_EQ(end, n);
      CHECK_EQ(thread_id, 0);
      ++calls;
    });
    CHECK_EQ(calls, 1);
  }
}

TEST(more_items_than_anyone_can_count) {
  for (const int64_t n : {(int64_t{1} << 48) - 1, int64_t{1} << 48, INT64_MAX}) {
    std::atomic<int64_t> items{0};
    run(n, 4, [&](int64_t begin, int64_t end, int) { items += end - begin; });
    CHECK_EQ(items.load(), n);
  }
}

TEST(the_threads_asked_for_take_part) {
  for (const int threads : {2, 3, 8, 16}) CHECK(all_take_part(threads));
}

TEST(workers_beyond_the_threads_asked_for_stay_out) {
  Pool::set_spin_microseconds(200000);  // all seven are awake and looking when the next job comes
  CHECK(all_take_part(8));
  for (const int threads : {2, 3})
    run(100, threads, [&](int64_t begin, int64_t end, int thread_id) {
      CHECK(thread_id < threads);
      std::this_thread::sleep_for(std::chrono::microseconds(200 * (end - begin)));
    });
  Pool::set_spin_microseconds(100);
}

TEST(more_threads_than_the_pool_has) { CHECK(covers(64, 1 << 20)); }

TEST(thousands_of_tiny_jobs) {
  for (const int spin : {0, 1, 100}) {
    Pool::set_spin_microseconds(spin);
    for (int i = 0; i < 3000; ++i) CHECK(covers(1 + i % 9, 1 + i % 5));
  }
  Pool::set_spin_microseconds(100);
}

TEST(jobs_after_a_pause_wake_sleeping_workers) {
  for (const int spin : {0, 100}) {
    Pool::set_spin_microseconds(spin);
    for (int i = 0; i < 30; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      CHECK(covers(40, 4));
    }
    CHECK(all_take_part(4));
  }
  Pool::set_spin_microseconds(100);
}

TEST(long_items_at_the_end_are_waited_for) {
  for (const int spin : {0, 100}) {
    Pool::set_spin_microseconds(spin);
    for (int i = 0; i < 20; ++i) {
      std::vector<int> results(4);
      run(4, 4, [&](int64_t begin, int64_t end, int thread_id) {
        if (thread_id != 0) busy_wait(1000);
        for (int64_t k = begin; k < end; ++k) results[static_cast<size_t>(k)] = 1;
      });
      CHECK(results == std::vector<int>(4, 1));
    }
  }
  Pool::set_spin_microseconds(100);
}

TEST(nested_calls_run_inline) {
  std::atomic<int64_t> items{0};
  run(8, 4, [&](int64_t begin, int64_t end, int) {
    const std::thread::id outer = std::this_thread::get_id();
    for (int64_t i = begin; i < end; ++i) {
      run(100, 4, [&](int64_t inner_begin, int64_t inner_end, int thread_id) {
        CHECK(std::this_thread::get_id() == outer);
        CHECK_EQ(thread_id, 0);
        items += inner_end - inner_begin;
        CHECK(covers(10, 4));
      });
    }
  });
  CHECK_EQ(items.load(), 800);
}

TEST(concurrent_callers) {
  std::atomic<bool> good{true};
  std::vector<std::thread> callers;
  for (int t = 0; t < 8; ++t)
    callers.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i)
        if (!covers(1 + (i * 7 + t) % 50, 1 + (i + t) % 6)) good = false;
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(good);
}

TEST(results_do_not_depend_on_threads) {  // bug class 30
  std::vector<float> expected;
  for (int threads = 1; threads <= 16; ++threads) {
    for (int repeat = 0; repeat < 3; ++repeat) {
      std::vector<float> sums(37);
      run(37, threads, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i)
          for (int k = 1; k <= 1000; ++k) sums[static_cast<size_t>(i)] += 1.0f / static_cast<float>(k + i);
      });
      if (expected.empty()) expected = sums;
      CHECK(sums == expected);
    }
  }
}

TEST(threads_start_and_go_while_callers_come_and_go) {
  for (int i = 0; i < 50; ++i) std::thread([] { CHECK(covers(20, 3)); }).join();
}
