#include "pool.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(_MSC_VER)
#include <intrin.h>
#endif

#include "compiler.hpp"

namespace lowbit {
namespace {

// A job is offered in one word, the ticket: (threads that may take part) << 48 | (items nobody has claimed).
// Claiming is one compare-and-swap that lowers it, so a claim is always on the job offered at that instant, however
// long ago the worker read the word; and what the job is may be read after the claim, because the caller does not
// return, and so does not write the next job, before every claimed item is done. A worker that has claimed nothing is
// never waited for.
constexpr int kItemBits = 48;
constexpr uint64_t kItems = (uint64_t{1} << kItemBits) - 1;

// A claim takes this fraction of a thread's even share of what is left: few claims when there are many items, single
// items at the end, where a late thread would be waited for.
constexpr int64_t kShareOfLeft = 8;

using Clock = std::chrono::steady_clock;
constexpr std::chrono::microseconds kWorthWaking{20};  // work left, of one thread
constexpr int64_t kItemsToTryOne = 4;                  // for each thread: with fewer the caller does not try one first

struct Worker {
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<bool> asleep{false};
};

struct State {
  std::atomic<bool> busy{false};  // held by the one caller that uses the workers

  // Written by the holder of `busy` before it offers the ticket.
  int64_t n = 0;
  lowbit_task task = nullptr;
  void* arg = nullptr;
  alignas(64) std::atomic<uint64_t> ticket{0};
  alignas(64) std::atomic<int64_t> done{0};

  std::mutex caller_mutex;
  std::condition_variable caller_wake;
  std::atomic<bool> caller_asleep{false};

  // Used by the holder of `busy` only. Worker i has thread id i + 1.
  Clock::time_point last_end{};
  int started = 0;
  Worker* workers[kMaxThreads - 1] = {};
};

// Never destroyed: workers are detached and may outlive the static objects of a process that exits.
alignas(State) unsigned char storage[sizeof(State)];
std::atomic<int> spin_microseconds{100};

State* make_state() { return new (storage) State; }

// At load time, so that no first use can be cut in two by a fork.
State* const state = [] {
#if !defined(_WIN32)
  // The child has no workers, and whatever the locks and counters say was said by threads it does not have. The old
  // workers' few bytes are lost, the price of not allocating here.
  pthread_atfork(nullptr, nullptr, [] { make_state(); });
#endif
  return make_state();
}();

template <typename Condition>
bool spin_until(Condition condition) {
  if (condition()) return true;
  const int microseconds = spin_microseconds.load(std::memory_order_relaxed);
  if (microseconds == 0) return false;
  const auto end = Clock::now() + std::chrono::microseconds(microseconds);
  do {
    for (int i = 0; i < 32; ++i) {  // reading the clock costs about as much as a pause
      if (condition()) return true;
      LOWBIT_PAUSE();
    }
    // The thread waited for may need this very core: without the yield, jobs of 0.8 ms took up to 0.1 ms longer on two
    // cores under a load of 7 to 12.
    std::this_thread::yield();
  } while (Clock::now() < end);
  return false;
}

bool may_claim(uint64_t ticket, int thread_id) {
  return (ticket & kItems) != 0 && thread_id < static_cast<int>(ticket >> kItemBits);
}

// Claims items of the offered job, at most so many, and runs them. False: none is left.
bool run_items(int thread_id, int64_t most) {
  uint64_t ticket = state->ticket.load(std::memory_order_relaxed);
  int64_t left, take;
  do {
    if (!may_claim(ticket, thread_id)) return false;
    left = static_cast<int64_t>(ticket & kItems);
    take = std::clamp<int64_t>(left / (kShareOfLeft * static_cast<int64_t>(ticket >> kItemBits)), 1, most);
  } while (!state->ticket.compare_exchange_weak(ticket, ticket - static_cast<uint64_t>(take), std::memory_order_acquire,
                                                std::memory_order_relaxed));
  const int64_t n = state->n;
  state->task(state->arg, n - left, n - left + take, thread_id);
  // With this the job may be over and the next one written; only the state itself is sure to be there.
  if (state->done.fetch_add(take) + take == n && state->caller_asleep.load()) {
    {
      const std::lock_guard<std::mutex> lock(state->caller_mutex);
    }
    state->caller_wake.notify_one();
  }
  return true;
}

void help(int thread_id) {
  while (run_items(thread_id, INT64_MAX)) continue;
}

void work(Worker* worker, int thread_id) {
  const auto offered = [thread_id] { return may_claim(state->ticket.load(), thread_id); };
  for (;;) {
    help(thread_id);
    if (spin_until(offered)) continue;
    std::unique_lock<std::mutex> lock(worker->mutex);
    worker->asleep.exchange(true);
    worker->wake.wait(lock, offered);
    worker->asleep.store(false);
  }
}

// As many workers as the system grants, up to `count`.
void start_workers(int count) {
  try {
    while (state->started < count) {
      Worker*& worker = state->workers[state->started];
      if (!worker) worker = new Worker;
      std::thread(work, worker, state->started + 1).detach();
      ++state->started;
    }
  } catch (...) {  // no thread or no memory to be had: those that there are do the work
  }
}

bool anyone_sleeps(int count) {
  return std::any_of(state->workers, state->workers + count, [](const Worker* w) { return w->asleep.load(); });
}

// Whether waking sleepers pays, which costs the caller 10 µs: where calls follow each other so closely that those who
// are awake stay awake, or else where the items that are left take longer, by the first of them. Of few items the first
// may be half the job.
bool waking_pays(int threads, Clock::time_point start) {
  const auto idle = start - state->last_end;
  if (idle < std::chrono::microseconds(spin_microseconds.load(std::memory_order_relaxed))) return true;
  if (state->n < kItemsToTryOne * threads) return true;
  run_items(0, 1);
  const int64_t left = static_cast<int64_t>(state->ticket.load(std::memory_order_relaxed) & kItems);
  return (Clock::now() - start) * static_cast<double>(left) > kWorthWaking;
}

void wake_workers(int count) {
  for (int i = 0; i < count && (state->ticket.load() & kItems); ++i) {
    Worker* worker = state->workers[i];
    if (!worker->asleep.load()) continue;
    {
      const std::lock_guard<std::mutex> lock(worker->mutex);
    }
    worker->wake.notify_one();
  }
}

}  // namespace

void Pool::run(void*, int64_t n, int max_threads, lowbit_task task, void* arg) {
  if (n <= 0) return;
  const int threads = static_cast<int>(std::min<int64_t>(n, std::min(max_threads, kMaxThreads)));
  if (threads <= 1 || static_cast<uint64_t>(n) > kItems || state->busy.exchange(true, std::memory_order_acquire)) {
    task(arg, 0, n, 0);
    return;
  }
  start_workers(threads - 1);
  state->n = n;
  state->task = task;
  state->arg = arg;
  state->done.store(0, std::memory_order_relaxed);
  // Sequentially consistent, like the sleeper's `asleep` and the loads of both: either the waker sees the sleeper or
  // the sleeper sees the work. `done` and `caller_asleep` go by the same rule. Exchanges, not stores: qemu-user lets a
  // load pass the store-release before it (a test hung once in ARM emulation), and hardware pays the same for both.
  state->ticket.exchange(static_cast<uint64_t>(threads) << kItemBits | static_cast<uint64_t>(n));
  const int workers = std::min(state->started, threads - 1);
  if (anyone_sleeps(workers) && waking_pays(threads, Clock::now())) wake_workers(workers);
  help(0);

  const auto finished = [n] { return state->done.load() == n; };
  if (!spin_until(finished)) {
    std::unique_lock<std::mutex> lock(state->caller_mutex);
    state->caller_asleep.exchange(true);
    state->caller_wake.wait(lock, finished);
    state->caller_asleep.store(false);
  }
  state->last_end = Clock::now();
  state->busy.store(false, std::memory_order_release);
}

void Pool::set_spin_microseconds(int microseconds) {
  spin_microseconds.store(std::max(microseconds, 0), std::memory_order_relaxed);
}

}  // namespace lowbit
