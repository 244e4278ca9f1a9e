// The thread pool behind lowbit_options.parallel_for in the Python bindings. One for the process; no part of the C ABI.
#pragma once

#include <cstdint>

#include "lowbit/lowbit.h"

namespace lowbit {

// More threads than this are not used, and not accepted where a user names a number.
constexpr int kMaxThreads = 1024;

class Pool {
 public:
  // A lowbit_parallel_for; the first argument is not used (NULL will do). Workers start at the first call that needs
  // them and start anew in a forked child. A call made while another runs, which includes every call from inside a
  // task, runs on its own thread. A task must not throw; a child forked inside a task must not return from it.
  static void run(void* pool, int64_t n, int max_threads, lowbit_task task, void* arg);

  // How long a worker looks for the next job, and a caller for the last items of its own, before it sleeps. 0: not at
  // all; 100 at first.
  static void set_spin_microseconds(int microseconds);

  // LOWBIT_NUM_THREADS, else the first number of OMP_NUM_THREADS, else the CPUs this process may use: the smaller of
  // its affinity mask and its cgroup's CPU quota, rounded up. Throws std::invalid_argument where LOWBIT_NUM_THREADS is
  // no number in [1, kMaxThreads]. An OMP_NUM_THREADS that makes no sense is ignored: it is not ours to judge.
  static int default_threads();
};

// The smallest CPU quota (cgroup v1 or v2) of this process and all groups above it, rounded up; 0: none.
// root: "" for the running system; tests give a directory that looks like one.
int cgroup_cpus(const char* root);

}  // namespace lowbit
