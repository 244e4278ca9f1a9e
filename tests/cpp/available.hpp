// The tables of words.hpp that this CPU can run.
#pragma once

#include <cstring>
#include <vector>

#include "lowbit/lowbit.h"
#include "words.hpp"

inline std::vector<const Words*> available_words() {
  std::vector<const Words*> found;
  for (const Words* words : {
           &words_scalar4,
           &words_scalar8,
           &words_scalar16,
#if defined(__x86_64__)
           &words_avx2,
           &words_avxvnni,
           &words_avxvnni_evex,
           &words_avx512,
           &words_avx512vnni,
#elif defined(__aarch64__)
           &words_neon,
           &words_dotprod,
           &words_i8mm,
#endif
       }) {
    for (int i = 0; const char* isa = lowbit_available_isa(i); ++i) {
      if (std::strcmp(isa, words->needs) == 0) found.push_back(words);
    }
  }
  return found;
}
