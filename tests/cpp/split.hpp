// Contexts that cut work in different ways: results must not depend on it.
#pragma once

#include <string>
#include <vector>

#include "lowbit/lowbit.h"
#include "pool.hpp"
#include "test.hpp"

namespace test {

struct Split {
  std::string isa;
  int max_threads;
  lowbit_context context;
};

// Every ISA of this CPU x {one call for everything; pieces of one item, the last first, as of 3 and of 16 threads}.
inline std::vector<Split> splits() {
  std::vector<Split> all;
  for (int i = 0; const char* isa = lowbit_available_isa(i); ++i) {
    for (const int max_threads : {1, 3, 16}) {
      lowbit_options options = {};
      options.struct_size = sizeof options;
      options.isa = isa;
      options.max_threads = max_threads;
      if (max_threads > 1) {
        options.parallel_for = [](void*, int64_t n, int threads, lowbit_task task, void* arg) {
          for (int64_t item = n - 1; item >= 0; --item) task(arg, item, item + 1, int(item % threads));
        };
      }
      Split split = {isa, max_threads, {}};
      lowbit_error error;
      if (lowbit_context_init(&split.context, &options, &error) != LOWBIT_OK) {
        failed(__FILE__, __LINE__, error.message);
      }
      all.push_back(split);
    }
  }
  return all;
}

// A context that runs on threads of their own. isa: nullptr for the best.
inline lowbit_context pool_context(const char* isa, int max_threads) {
  lowbit_options options = {};
  options.struct_size = sizeof options;
  options.isa = isa;
  options.max_threads = max_threads;
  if (max_threads > 1) options.parallel_for = &lowbit::Pool::run;
  lowbit_context context = {};
  lowbit_error error;
  if (lowbit_context_init(&context, &options, &error) != LOWBIT_OK) failed(__FILE__, __LINE__, error.message);
  return context;
}

}  // namespace test
