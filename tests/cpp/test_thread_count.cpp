// The default number of threads, from the environment, affinity and cgroups. POSIX only.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "pool.hpp"
#include "test.hpp"

using lowbit::Pool;

namespace {

// Sets a variable (NULL: unsets it) until the end of the block.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    const char* old = std::getenv(name);
    if (old) old_ = std::make_unique<std::string>(old);
    set(value);
  }
  ~Environment() { set(old_ ? old_->c_str() : nullptr); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  void set(const char* value) const { value ? setenv(name_, value, 1) : unsetenv(name_); }
  const char* name_;
  std::unique_ptr<std::string> old_;
};

}  // namespace

TEST(lowbit_num_threads_comes_first) {
  const Environment omp("OMP_NUM_THREADS", "5");
  {
    const Environment own("LOWBIT_NUM_THREADS", " 3 ");
    CHECK_EQ(Pool::default_threads(), 3);
  }
  for (const char* unset : {static_cast<const char*>(nullptr), ""}) {
    const Environment own("LOWBIT_NUM_THREADS", unset);
    CHECK_EQ(Pool::default_threads(), 5);
  }
  const Environment own("LOWBIT_NUM_THREADS", "1024");
  CHECK_EQ(Pool::default_threads(), 1024);
}

TEST(a_bad_lowbit_num_threads_is_reported) {
  for (const char* bad : {"0", "-1", "two", "2x", "2,4", "1025", "99999999999999999999", "1.5", " "}) {
    const Environment own("LOWBIT_NUM_THREADS", bad);
    std::string message;
    try {
      Pool::default_threads();
    } catch (const std::invalid_argument& error) {
      message = error.what();
    }
    CHECK_EQ(message, "environment variable LOWBIT_NUM_THREADS: got '" + std::string(bad) +
                          "', expected a number from 1 to 1024");
  }
}

TEST(omp_num_threads_comes_second) {
  const Environment own("LOWBIT_NUM_THREADS", nullptr);
  int cpus = 0;
  {
    const Environment omp("OMP_NUM_THREADS", nullptr);
    cpus = Pool::default_threads();
    CHECK(cpus >= 1);
  }
  const std::vector<std::pair<const char*, int>> cases = {{"7", 7},    {"7,3", 7},   {" 2 , 4", 2},  {"100000", 1024},
                                                          {"0", cpus}, {"-2", cpus}, {"many", cpus}, {"", cpus}};
  for (const auto& [text, expected] : cases) {
    const Environment omp("OMP_NUM_THREADS", text);
    CHECK_EQ(Pool::default_threads(), expected);
  }
}

TEST(cgroup_quotas) {
  namespace fs = std::filesystem;
  const fs::path root = fs::temp_directory_path() / ("lowbit-test-pool-" + std::to_string(getpid()));
  const auto write = [&](const std::string& path, const std::string& text) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  };
  const auto cpus = [&] {
    const int result = lowbit::cgroup_cpus(root.c_str());
    fs::remove_all(root);
    return result;
  };
  CHECK_EQ(cpus(), 0);  // no cgroups at all

  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/cpu.max", "max 100000\n");
  CHECK_EQ(cpus(), 0);

  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  CHECK_EQ(cpus(), 2);  // 1.5, rounded up

  write("proc/self/cgroup", "0::/a.slice/b\n");
  write("sys/fs/cgroup/a.slice/cpu.max", "300000 100000\n");
  write("sys/fs/cgroup/a.slice/b/cpu.max", "400000 100000\n");
  CHECK_EQ(cpus(), 3);  // a group above is tighter

  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/a/b/cpu.max", "1000 100000\n");
  CHECK_EQ(cpus(), 1);

  write("proc/self/cgroup", "5:memory:/x\n4:cpu,cpuacct:/docker/abc\n0::/\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n");  // the host's path, the container's mount
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  CHECK_EQ(cpus(), 3);

  write("proc/self/cgroup", "4:cpuset,cpu:/x\n");
  write("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
  CHECK_EQ(cpus(), 0);

  write("proc/self/cgroup", "nonsense\n\n:\n::\n4:cpu:\n");
  CHECK_EQ(cpus(), 0);
}
