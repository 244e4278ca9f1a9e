// lowbit_matmul_grouped, and products whose K is cut: the bits of one product on one thread, with any number of threads
// and whatever order tasks come in (reliability.md: 2, 3, 17, 30).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "pool.hpp"
#include "split.hpp"
#include "weights.hpp"

namespace {

using namespace test;

lowbit_weights_info weights_of(lowbit_format format, int64_t n, int64_t k, int64_t group, lowbit_type zero_type) {
  return weights_info(format, n, k, group, LOWBIT_FLOAT32, zero_type);
}

// A product of its own: operands that end at guard pages.
struct One {
  Weights w;
  Guarded x_memory, out_memory;
  std::vector<float> bias;
  lowbit_matmul_args args = {};

  One(std::mt19937& random, const lowbit_weights_info& info, int64_t m, lowbit_compute compute, int64_t act)
      : w(make_weights(random, info)), x_memory(size_t(m * info.k) * 4 + 4), out_memory(size_t(m * info.n) * 4 + 4) {
    float* const x = x_memory.last<float>(size_t(m * info.k));
    for (int64_t i = 0; i < m * info.k; ++i) x[i] = std::ldexp(float(int(random() % 4001) - 2000), -int(random() % 16));
    for (int64_t i = 0; i < info.n; ++i) bias.push_back(float(int(random() % 100) - 50) / 7);
    args.struct_size = sizeof args;
    args.weights = w.packed;
    args.weights_size = w.size;
    args.m = m;
    args.k = info.k;
    args.x_type = LOWBIT_FLOAT32;
    args.x = x;
    args.ldx = info.k;
    args.compute = compute;
    args.act_group_size = act;
    args.bias = bias.data();
    args.activation = LOWBIT_RELU;
    args.out = out_memory.last<float>(size_t(m * info.n));
    args.ldout = info.n;
  }
  size_t count() const { return size_t(args.m * w.info.n); }
  bool has(const std::vector<float>& expected) const {
    return expected.empty() || std::memcmp(expected.data(), args.out, expected.size() * 4) == 0;
  }

  // The result of lowbit_matmul on the calling thread.
  std::vector<float> alone(const char* isa) {
    lowbit_context context = pool_context(isa, 1);
    lowbit_error error = {};
    size_t size = 0;
    lowbit_matmul_args a = args;
    CHECK_EQ(lowbit_matmul_workspace(&context, &a, &size, &error), LOWBIT_OK);
    const Guarded memory(size);
    a.workspace = memory.last<uint8_t>(size);
    a.workspace_size = size;
    std::memset(a.workspace, 0xff, size);
    std::vector<float> result(count());
    a.out = result.data();
    CHECK_EQ(lowbit_matmul(&context, &a, &error), LOWBIT_OK);
    return result;
  }
};

// A dirty workspace of exactly the size asked for.
lowbit_status run_group(const lowbit_context& context, const std::vector<lowbit_matmul_args>& args,
                        lowbit_error* error) {
  size_t size = 0;
  const int64_t count = int64_t(args.size());
  const lowbit_status status = lowbit_matmul_grouped_workspace(&context, args.data(), count, &size, error);
  if (status) return status;
  const Guarded memory(size);
  uint8_t* const workspace = memory.last<uint8_t>(size);
  std::memset(workspace, 0xff, size);
  return lowbit_matmul_grouped(&context, args.data(), count, workspace, size, error);
}

std::deque<One> mixed_products(std::mt19937& random) {
  std::deque<One> all;
  const lowbit_compute int8 = LOWBIT_COMPUTE_INT8, float32 = LOWBIT_COMPUTE_FLOAT32;
  all.emplace_back(random, weights_of(LOWBIT_INT(4), 33, 256, 32, LOWBIT_NONE), 3, int8, 0);
  all.emplace_back(random, weights_of(LOWBIT_INT(4), 17, 64, 32, LOWBIT_NONE), 0, int8, 0);
  all.emplace_back(random, weights_of(LOWBIT_UINT(4), 70, 2100, 0, LOWBIT_UINT8), 51, int8, -1);
  all.emplace_back(random, weights_of(LOWBIT_INT(8), 0, 40, 0, LOWBIT_NONE), 5, int8, 0);
  all.emplace_back(random, weights_of(LOWBIT_UINT(3), 40, 1100, 64, LOWBIT_FLOAT32), 20, int8, 0);
  all.emplace_back(random, weights_of(LOWBIT_INT(8), 129, 384, 0, LOWBIT_NONE), 100, int8, -1);
  all.emplace_back(random, weights_of(LOWBIT_INT(8), 5, 0, 0, LOWBIT_NONE), 2, int8, 0);
  all.emplace_back(random, weights_of(LOWBIT_FORMAT_NF4, 16, 1500, 64, LOWBIT_NONE), 9, float32, 0);
  return all;
}

TEST(a_group_is_its_products_one_by_one) {
  std::mt19937 random(1);
  std::deque<One> all = mixed_products(random);
  for (const Split& split : splits()) {
    std::vector<lowbit_matmul_args> args;
    for (One& one : all) {
      std::memset(one.args.out, 0xff, one.count() * 4);
      args.push_back(one.args);
    }
    lowbit_error error = {};
    CHECK_EQ(run_group(split.context, args, &error), LOWBIT_OK);
    for (size_t i = 0; i < all.size(); ++i) {
      const std::vector<float> expected = all[i].alone(split.isa.c_str());
      if (!all[i].has(expected)) {
        failed(__FILE__, __LINE__, split.isa + ", product " + std::to_string(i));
      }
    }
  }
}

// K is cut: few columns and rows, several segments. Every path, and layouts whose segments do not stand alone.
std::deque<One> long_products(std::mt19937& random) {
  std::deque<One> all;
  const lowbit_compute int8 = LOWBIT_COMPUTE_INT8, float32 = LOWBIT_COMPUTE_FLOAT32;
  constexpr int64_t k = 1024 * 7 + 5;
  for (const int64_t n : {1, 17}) {
    const int64_t m = n == 1 ? 300 : 70;
    all.emplace_back(random, weights_of(LOWBIT_INT(8), n, k, 0, LOWBIT_INT8), m, int8, -1);
    all.emplace_back(random, weights_of(LOWBIT_UINT(4), n, k, 0, LOWBIT_UINT8), m, int8, -1);
    all.emplace_back(random, weights_of(LOWBIT_INT(4), n, k, 32, LOWBIT_NONE), m, int8, 0);
    all.emplace_back(random, weights_of(LOWBIT_UINT(2), n, k, 128, LOWBIT_UINT8), m, int8, 256);
    all.emplace_back(random, weights_of(LOWBIT_INT(8), n, k, 0, LOWBIT_NONE), m, int8, 64);
    all.emplace_back(random, weights_of(LOWBIT_INT(3), n, k, 288, LOWBIT_NONE), m, int8, 96);   // segments of 3 1/3
    all.emplace_back(random, weights_of(LOWBIT_UINT(1), n, k, 512, LOWBIT_UINT8), m, int8, 0);  // 2 bits of zeros
    all.emplace_back(random, weights_of(LOWBIT_INT(4), n, k, 3072, LOWBIT_NONE), m, int8, 0);
    all.emplace_back(random, weights_of(LOWBIT_UINT(4), n, k, 64, LOWBIT_FLOAT16), m, int8, 0);
    all.emplace_back(random, weights_of(LOWBIT_FORMAT_MXFP4, n, k, 32, LOWBIT_NONE), m, int8, 0);
    all.emplace_back(random, weights_of(LOWBIT_UINT(5), n, k, 64, LOWBIT_UINT8), m, float32, 0);
  }
  all.emplace_back(random, weights_of(LOWBIT_INT(8), 1, 1024 * 64 + 5, 128, LOWBIT_INT8), 33, int8, 0);
  all.emplace_back(random, weights_of(LOWBIT_INT(4), 1, 1024 * 64 + 5, 32, LOWBIT_NONE), 33, int8, -1);
  // few rows, codes unpacked on the way
  all.emplace_back(random, weights_of(LOWBIT_INT(4), 16, 1024 * 64 + 5, 32, LOWBIT_NONE), 8, int8, 0);
  all.emplace_back(random, weights_of(LOWBIT_UINT(4), 17, 1024 * 63, 0, LOWBIT_UINT8), 8, int8, -1);
  all.emplace_back(random, weights_of(LOWBIT_UINT(4), 17, 1024 * 63, 128, LOWBIT_UINT8), 7, int8, -1);
  all.emplace_back(random, weights_of(LOWBIT_FORMAT_NF4, 33, 1024 * 64, 64, LOWBIT_NONE), 4, int8, -1);
  return all;
}

TEST(a_cut_k_changes_no_bit) {
  std::mt19937 random(2);
  std::deque<One> all = long_products(random);
  for (int i = 0; const char* isa = lowbit_available_isa(i); ++i) {
    for (One& one : all) {
      const std::vector<float> expected = one.alone(isa);
      for (const int threads : {2, 3, 7}) {
        std::memset(one.args.out, 0xff, one.count() * 4);
        lowbit_error error = {};
        CHECK_EQ(run_group(pool_context(isa, threads), {one.args}, &error), LOWBIT_OK);
        if (!one.has(expected)) {
          failed(__FILE__, __LINE__,
                 std::string(isa) + ", " + one.w.name + " n " + std::to_string(one.w.info.n) + ", " +
                     std::to_string(threads) + " threads");
        }
      }
    }
  }
}

// Tasks one by one, the last first, on every kernel there is.
TEST(a_cut_k_is_the_formula) {
  for (const lowbit_compute compute : {LOWBIT_COMPUTE_INT8, LOWBIT_COMPUTE_FLOAT32}) {
    check_case({weights_of(LOWBIT_UINT(4), 3, 16391, 64, LOWBIT_UINT8), 65, 0, compute}, 3);
    check_case({weights_of(LOWBIT_INT(4), 16, 3 << 16, 0, LOWBIT_NONE), 1, 128, compute}, 4);
  }
  check_case({weights_of(LOWBIT_INT(8), 3, 16391, 0, LOWBIT_NONE), 65, -1, LOWBIT_COMPUTE_INT8}, 5);
}

// Threads take part: with a pool that counts them, small products that are enough work only together.
TEST(a_group_of_small_products_uses_threads) {
  std::mt19937 random(6);
  std::deque<One> all;
  for (int i = 0; i < 32; ++i) {
    all.emplace_back(random, weights_of(LOWBIT_INT(4), 256, 512, 32, LOWBIT_NONE), 1 + i % 3, LOWBIT_COMPUTE_INT8, 0);
  }
  struct Seen {
    int64_t most_items = 0;
    int loops = 0, threads = 0;
  } seen;
  lowbit_options options = {};
  options.struct_size = sizeof options;
  options.max_threads = 4;
  options.pool = &seen;
  options.parallel_for = [](void* pool, int64_t n, int threads, lowbit_task task, void* arg) {
    Seen* const s = static_cast<Seen*>(pool);
    s->most_items = std::max(s->most_items, n);
    s->threads = std::max(s->threads, threads);
    ++s->loops;
    for (int64_t i = 0; i < n; ++i) task(arg, i, i + 1, int(i % threads));
  };
  lowbit_context context = {};
  lowbit_error error = {};
  CHECK_EQ(lowbit_context_init(&context, &options, &error), LOWBIT_OK);
  std::vector<lowbit_matmul_args> args;
  for (One& one : all) args.push_back(one.args);
  CHECK_EQ(run_group(context, args, &error), LOWBIT_OK);
  CHECK_EQ(seen.loops, 2);  // all rows of x, then all products
  CHECK_EQ(seen.threads, 4);
  CHECK(seen.most_items >= 32 * 4);
  for (One& one : all) {
    const std::vector<float> expected = one.alone(nullptr);
    CHECK(one.has(expected));
  }
}

// Two callers at once: one has the pool, the other its own thread.
TEST(groups_from_two_threads) {
  std::mt19937 random(7);
  std::deque<One> first = long_products(random), second = mixed_products(random);
  const auto work = [](std::deque<One>* all) {
    std::vector<lowbit_matmul_args> args;
    for (One& one : *all) args.push_back(one.args);
    for (int repeat = 0; repeat < 3; ++repeat) {
      lowbit_error error = {};
      CHECK_EQ(run_group(pool_context(nullptr, 4), args, &error), LOWBIT_OK);
    }
  };
  std::thread other(work, &first);
  work(&second);
  other.join();
  for (std::deque<One>* all : {&first, &second}) {
    for (One& one : *all) {
      const std::vector<float> expected = one.alone(nullptr);
      CHECK(one.has(expected));
    }
  }
}

bool says(const lowbit_error& error, const char* what) { return std::strstr(error.message, what) != nullptr; }

TEST(errors_name_the_product) {
  std::mt19937 random(8);
  std::deque<One> all = mixed_products(random);
  const lowbit_context context = pool_context(nullptr, 2);
  std::vector<lowbit_matmul_args> good;
  for (One& one : all) good.push_back(one.args);
  lowbit_error error = {};
  size_t size = 0;

  CHECK_EQ(lowbit_matmul_grouped_workspace(nullptr, good.data(), 1, &size, &error), LOWBIT_INVALID_VALUE);
  CHECK(says(error, "context: "));
  CHECK_EQ(lowbit_matmul_grouped_workspace(&context, good.data(), 1, nullptr, &error), LOWBIT_INVALID_VALUE);
  CHECK(says(error, "size: "));
  CHECK_EQ(lowbit_matmul_grouped_workspace(&context, good.data(), -1, &size, &error), LOWBIT_INVALID_VALUE);
  CHECK(says(error, "count: ") && says(error, "-1"));
  CHECK_EQ(lowbit_matmul_grouped_workspace(&context, good.data(), INT64_MAX, &size, &error), LOWBIT_INVALID_VALUE);
  CHECK(says(error, "count: "));
  CHECK_EQ(lowbit_matmul_grouped_workspace(&context, nullptr, 1, &size, &error), LOWBIT_INVALID_VALUE);
  CHECK(says(error, "args: "));
  CHECK_EQ(lowbit_matmul_grouped(&context, nullptr, 0, nullptr, 0, &error), LOWBIT_OK);

  const auto check_bad = [&](size_t i, const char* what, auto change) {
    std::vector<lowbit_matmul_args> args = good;
    change(&args[i]);
    CHECK_EQ(run_group(context, args, &error), LOWBIT_INVALID_VALUE);
    CHECK(says(error, ("args[" + std::to_string(i) + "]: ").c_str()) && says(error, what));
    lowbit_error none = {};
    CHECK_EQ(run_group(context, {args[i]}, &none), LOWBIT_INVALID_VALUE);
    CHECK(!says(none, "args[") && says(none, what));  // alone there is nothing to tell apart
  };
  check_bad(2, "struct_size", [](lowbit_matmul_args* a) { a->struct_size = 3; });
  check_bad(0, "x: ", [](lowbit_matmul_args* a) { a->k = 7; });
  check_bad(4, "x: ", [](lowbit_matmul_args* a) { a->x = nullptr; });
  check_bad(5, "out: ", [](lowbit_matmul_args* a) { a->out = nullptr; });
  check_bad(5, "ldx: ", [](lowbit_matmul_args* a) { a->ldx = 1; });
  check_bad(7, "m: ", [](lowbit_matmul_args* a) { a->m = -2; });
  check_bad(7, "activations", [](lowbit_matmul_args* a) { a->m = int64_t{1} << 60; });

  CHECK_EQ(lowbit_matmul_grouped_workspace(&context, good.data(), int64_t(good.size()), &size, &error), LOWBIT_OK);
  const Guarded memory(size);
  uint8_t* const workspace = memory.last<uint8_t>(size);
  const auto group = [&](void* at, size_t bytes) {
    return lowbit_matmul_grouped(&context, good.data(), int64_t(good.size()), at, bytes, &error);
  };
  CHECK_EQ(group(workspace, size - 1), LOWBIT_INVALID_VALUE);
  CHECK(says(error, "workspace: ") && says(error, std::to_string(size).c_str()));
  CHECK_EQ(group(nullptr, size), LOWBIT_INVALID_VALUE);
  CHECK(says(error, "workspace: "));
  CHECK_EQ(group(workspace + 1, size), LOWBIT_INVALID_VALUE);
  CHECK(says(error, "workspace: ") && says(error, "aligned"));
  CHECK_EQ(group(workspace, size), LOWBIT_OK);
}

}  // namespace
