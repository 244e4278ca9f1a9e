// engine … | nearest: for each line of numbers, the other line that is most like it, and how much.
//
// The lines' products with each other, int8: an index of embeddings in a quarter of the bytes. Through lowbit.hpp.
#include <lowbit/lowbit.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

struct Lines {
  int64_t count = 0, width = 0;
  std::vector<float> numbers;
};

static Lines read_lines(std::istream& from) {
  Lines lines;
  for (std::string line; std::getline(from, line); lines.count++) {
    int64_t width = 0;
    for (const char* at = line.c_str();; width++) {
      char* end = nullptr;
      const float number = std::strtof(at, &end);
      if (end == at) break;
      lines.numbers.push_back(number);
      at = end;
    }
    if (lines.count == 0) lines.width = width;
    if (width == 0 || width != lines.width) {
      throw std::runtime_error("line " + std::to_string(lines.count + 1) + ": " + std::to_string(width) +
                               " numbers, expected " +
                               (lines.width > 0 ? std::to_string(lines.width) : "at least one"));
    }
  }
  if (lines.count < 2) throw std::runtime_error(std::to_string(lines.count) + " lines, expected at least two");
  return lines;
}

static void print_nearest(const Lines& lines) {
  const lowbit::Context context;
  const auto codes =
      lowbit::quantize(context, lines.numbers.data(), lines.count, lines.width, LOWBIT_INT(8), LOWBIT_ABSMAX);
  const lowbit::PackedWeights weights = lowbit::pack(context, codes);
  std::vector<float> similarity(static_cast<size_t>(lines.count));
  lowbit::Buffer workspace;
  for (int64_t i = 0; i < lines.count; i++) {
    const float* line = lines.numbers.data() + i * lines.width;
    lowbit::matmul(context, lowbit::matmul_args(weights, line, 1, similarity.data()), workspace);
    int64_t best = i == 0 ? 1 : 0;
    for (int64_t j = 0; j < lines.count; j++) {
      if (j != i && similarity[static_cast<size_t>(j)] > similarity[static_cast<size_t>(best)]) best = j;
    }
    std::printf("%lld %.9g\n", static_cast<long long>(best + 1), double(similarity[static_cast<size_t>(best)]));
  }
}

int main() {
  try {
    print_nearest(read_lines(std::cin));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "nearest: %s\n", error.what());
    return EXIT_FAILURE;
  }
  if (std::fflush(stdout) != 0) {
    std::perror("nearest: standard output");
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
