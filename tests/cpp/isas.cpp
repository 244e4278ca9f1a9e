#include "isas.hpp"

#include <cstring>

#include "dispatch.hpp"

namespace lowbit {

const std::vector<const Kernels*>& all_kernels() {
  static const std::vector<const Kernels*> all = [] {
    std::vector<const Kernels*> found;
    for (int i = 0; const char* name = lowbit_available_isa(i); ++i) {
      found.push_back(find_kernels(name, nullptr));
#if defined(__x86_64__)
      if (std::strcmp(name, "avx512vnni") == 0) found.push_back(&kernels_avxvnni_evex);
#endif
    }
    found.push_back(&kernels_emulated4);
    found.push_back(&kernels_emulated16);
    return found;
  }();
  return all;
}

}  // namespace lowbit
