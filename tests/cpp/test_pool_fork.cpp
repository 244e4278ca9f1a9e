// The default pool and the process: fork (bug class 23), exit (24), a thread that is held up. POSIX only; qemu-user
// cannot run it (7.2 dies when a forked child of a process with threads starts one).
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "pool_checks.hpp"
#include "test.hpp"

using test::all_take_part;
using test::busy_wait;
using test::covers;
using test::run;

namespace {

std::atomic<bool> held{false};
std::atomic<bool> release{false};

// Runs `body` in a forked child under an alarm; true where it returned true in time.
template <typename F>
bool in_child(F body) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(body() ? 0 : 1);
  }
  int status = -1;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST(a_worker_that_has_claimed_nothing_is_not_waited_for) {
  // Worker 1 is held in a signal handler, as another process might hold its core.
  pthread_t worker = {};
  for (std::atomic<bool> found{false}; !found;)
    run(2, 2, [&](int64_t, int64_t, int thread_id) {
      if (thread_id == 1) {
        worker = pthread_self();
        found = true;
      }
      for (int i = 0; i < 20 && !found; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
  struct sigaction hold = {};
  struct sigaction before = {};
  hold.sa_handler = [](int) {
    held = true;
    while (!release) {
    }
  };
  sigaction(SIGUSR1, &hold, &before);
  alarm(60);
  CHECK_EQ(pthread_kill(worker, SIGUSR1), 0);
  while (!held) CHECK(covers(2, 2));  // a sanitizer delivers a signal when the thread next makes a call
  for (int i = 0; i < 100; ++i) CHECK(covers(10, 2));
  release = true;
  alarm(0);
  sigaction(SIGUSR1, &before, nullptr);
  CHECK(all_take_part(2));
}

TEST(fork_after_the_pool_started) {  // bug class 23
  CHECK(all_take_part(4));
  for (int i = 0; i < 5; ++i) {
    CHECK(in_child([] {
      bool good = all_take_part(4);  // with workers of its own
      for (int k = 0; k < 100; ++k) good = good && covers(50, 4);
      return good && in_child([] { return all_take_part(6) && covers(50, 6); });  // and a grandchild
    }));
    CHECK(covers(100, 4));
  }
}

TEST(fork_while_another_thread_is_inside_run) {
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) run(16, 4, [](int64_t, int64_t, int) { busy_wait(20); });
  });
  for (int i = 0; i < 30; ++i) CHECK(in_child([] { return covers(100, 4) && all_take_part(3); }));
  stop = true;
  other.join();
}

TEST(fork_from_two_threads) {
  std::atomic<bool> good{true};
  const auto forks = [&] {
    for (int i = 0; i < 15; ++i)
      if (!covers(100, 3) || !in_child([] { return covers(100, 4) && all_take_part(2); })) good = false;
  };
  std::thread first(forks);
  std::thread second(forks);
  first.join();
  second.join();
  CHECK(good);
}

TEST(exit_while_the_pool_is_busy) {  // bug class 24
  for (int i = 0; i < 10; ++i) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      std::thread([] {
        for (;;) run(16, 4, [](int64_t, int64_t, int) { busy_wait(50); });
      }).detach();
      busy_wait(i * 300);
      std::exit(0);  // with destructors, unlike _exit
    }
    int status = -1;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
  }
}
