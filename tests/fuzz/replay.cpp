// Runs a fuzz target without libFuzzer: on the files named, or on `-runs=N` inputs that are the same everywhere.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

// Copies: a byte read past the end is one that a sanitizer sees.
void run(const std::vector<uint8_t>& bytes) {
  const std::vector<uint8_t> exact(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

void run_random(long runs) {
  std::mt19937 random(1);  // the same numbers from every standard library; distributions are not
  std::vector<uint8_t> bytes;
  for (long i = 0; i < runs; ++i) {
    bytes.resize(random() % 192);
    for (uint8_t& byte : bytes) byte = uint8_t(random() >> 13);
    run(bytes);
  }
  std::printf("%ld inputs\n", runs);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s -runs=N | <file>…\n", argv[0]);
    return 2;
  }
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "-runs=", 6) == 0) {
      run_random(std::atol(argv[i] + 6));
      continue;
    }
    std::ifstream file(argv[i], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "%s: cannot be read\n", argv[i]);
      return 1;
    }
    run(std::vector<uint8_t>(std::istreambuf_iterator<char>(file), {}));
    std::printf("%s\n", argv[i]);
  }
  return 0;
}
