#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "pool.hpp"

#if defined(__linux__)
#include <sched.h>
#elif defined(_WIN32)
#include <windows.h>
#endif

namespace lowbit {
namespace {

// The integer that text begins with; 0 where it begins with none of at least 1. *rest: what follows it.
int leading_count(const char* text, const char** rest) {
  char* end = nullptr;
  errno = 0;
  const long value = std::strtol(text, &end, 10);
  *rest = end + std::strspn(end, " ");
  return end != text && errno == 0 && value >= 1 ? static_cast<int>(std::min<long>(value, kMaxThreads + 1)) : 0;
}

int affinity_cpus() {
#if defined(__linux__)
  cpu_set_t sets[8];  // 8192 CPUs: one set holds 1024, and the call fails when the kernel has more
  if (sched_getaffinity(0, sizeof sets, sets) == 0) return CPU_COUNT_S(sizeof sets, sets);
#elif defined(_WIN32)
  DWORD_PTR process = 0, system = 0;
  if (GetProcessAffinityMask(GetCurrentProcess(), &process, &system) && process) {
    int count = 0;
    for (; process; process &= process - 1) ++count;
    return count;
  }
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

// CPUs that the quota in this directory allows; infinity where there is none.
double quota_cpus(const std::string& directory) {
  double quota = 0, period = 0;
  std::ifstream(directory + "/cpu.max") >> quota >> period;  // v2: "max 100000" leaves 0
  if (quota <= 0) {
    std::ifstream(directory + "/cpu.cfs_quota_us") >> quota;  // v1: -1 is none
    std::ifstream(directory + "/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : INFINITY;
}

}  // namespace

int cgroup_cpus(const char* root) {
  const std::string top = root;
  double cpus = INFINITY;
  std::ifstream groups(top + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1)
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers != ",," && controllers.find(",cpu,") == std::string::npos) continue;
    const std::string mount = top + "/sys/fs/cgroup" + (controllers == ",," ? "" : "/cpu");
    // Any group above may set the limit. In a container the path can be the host's, of which only the mount itself,
    // the last step, exists.
    for (std::string path = line.substr(second + 1);; path.resize(path.rfind('/'))) {
      cpus = std::min(cpus, quota_cpus(mount + path));
      if (path.rfind('/') == std::string::npos) break;
    }
  }
  return std::isinf(cpus) ? 0 : static_cast<int>(std::ceil(std::min(cpus, static_cast<double>(kMaxThreads))));
}

int Pool::default_threads() {
  const char* rest = nullptr;
  if (const char* text = std::getenv("LOWBIT_NUM_THREADS"); text && *text) {
    const int count = leading_count(text, &rest);
    if (count >= 1 && count <= kMaxThreads && *rest == '\0') return count;
    throw std::invalid_argument(std::string("environment variable LOWBIT_NUM_THREADS: got '") + text +
                                "', expected a number from 1 to " + std::to_string(kMaxThreads));
  }
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    const int count = leading_count(text, &rest);
    if (count >= 1 && (*rest == '\0' || *rest == ',')) return std::min(count, kMaxThreads);
  }
  const int quota = cgroup_cpus("");
  const int cpus = std::min(std::max(affinity_cpus(), 1), kMaxThreads);
  return quota >= 1 ? std::min(cpus, quota) : cpus;
}

}  // namespace lowbit
