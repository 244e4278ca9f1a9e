// Detection of CPU levels from raw words (bug classes 27 and 29) and the choice of an ISA.
#include <cstring>
#include <string>
#include <vector>

#include "dispatch.hpp"
#include "test.hpp"

using namespace lowbit;

namespace {

// The bits of the Intel and AMD manuals, written again on purpose: a wrong one in dispatch.cpp must not agree here.
constexpr uint32_t kFma = 0x00001000, kOsxsave = 0x08000000, kAvx = 0x10000000, kF16c = 0x20000000;  // leaf 1 ecx
constexpr uint32_t kLeafAvx2 = 0x00000020, kF = 0x00010000, kDq = 0x00020000, kBw = 0x40000000,
                   kVl = 0x80000000;              // leaf 7 ebx
constexpr uint32_t kLeafAvx512Vnni = 0x00000800;  // leaf 7 ecx
constexpr uint32_t kLeafAvxVnni = 0x00000010;     // leaf 7.1 eax
constexpr uint64_t kX87 = 1, kXmm = 2, kYmm = 4, kOpmask = 0x20, kZmmHigh = 0x40, kZmm16To31 = 0x80;

X86Words haswell() { return {0x0d, kFma | kOsxsave | kAvx | kF16c, 0, kLeafAvx2, 0, 0, kX87 | kXmm | kYmm}; }

X86Words skylake_server() {
  X86Words words = haswell();
  words.max_leaf = 0x16;
  words.leaf7_ebx |= kF | kDq | kBw | kVl;
  words.xcr0 |= kOpmask | kZmmHigh | kZmm16To31;
  return words;
}

X86Words sapphire_rapids() {
  X86Words words = skylake_server();
  words.max_leaf = 0x20;
  words.leaf7_max_subleaf = 1;
  words.leaf7_ecx = kLeafAvx512Vnni;
  words.leaf7_1_eax = kLeafAvxVnni;
  return words;
}

X86Words alder_lake() {
  X86Words words = haswell();
  words.max_leaf = 0x20;
  words.leaf7_max_subleaf = 1;
  words.leaf7_1_eax = kLeafAvxVnni;
  return words;
}

constexpr uint32_t kAll = kAvx2 | kAvxVnni | kAvx512 | kAvx512Vnni | kNeon | kDotprod | kI8mm;

std::vector<std::string> list(const char* (*name)(int)) {
  std::vector<std::string> names;
  for (int i = 0; name(i); ++i) names.push_back(name(i));
  return names;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string name_of(const Kernels* kernels) { return kernels ? kernels->name : "NULL"; }

}  // namespace

TEST(levels_of_known_x86_cpus) {
  CHECK_EQ(levels(X86Words{}), 0u);
  CHECK_EQ(levels(haswell()), +kAvx2);
  CHECK_EQ(levels(alder_lake()), kAvx2 | kAvxVnni);
  CHECK_EQ(levels(skylake_server()), kAvx2 | kAvx512);
  CHECK_EQ(levels(sapphire_rapids()), kAvx2 | kAvxVnni | kAvx512 | kAvx512Vnni);
}

TEST(every_bit_of_a_level_is_needed) {
  for (const uint32_t bit : {kFma, kOsxsave, kAvx, kF16c}) {
    X86Words words = sapphire_rapids();
    words.leaf1_ecx &= ~bit;
    CHECK_EQ(levels(words), 0u);
  }
  for (const uint32_t bit : {kF, kDq, kBw, kVl}) {
    X86Words words = sapphire_rapids();
    words.leaf7_ebx &= ~bit;
    CHECK_EQ(levels(words), kAvx2 | kAvxVnni);
  }
  X86Words words = sapphire_rapids();
  words.leaf7_ebx &= ~kLeafAvx2;
  CHECK_EQ(levels(words), 0u);
  words = sapphire_rapids();
  words.leaf7_ecx = ~kLeafAvx512Vnni;
  CHECK_EQ(levels(words), kAvx2 | kAvxVnni | kAvx512);
  words = sapphire_rapids();
  words.leaf7_1_eax = ~kLeafAvxVnni;
  CHECK_EQ(levels(words), kAvx2 | kAvx512 | kAvx512Vnni);
}

TEST(the_operating_system_must_save_the_registers) {  // bug class 29
  for (const uint64_t state : {kOpmask, kZmmHigh, kZmm16To31}) {
    X86Words words = sapphire_rapids();
    words.xcr0 &= ~state;
    CHECK_EQ(levels(words), kAvx2 | kAvxVnni);
  }
  for (const uint64_t state : {kXmm, kYmm}) {  // without ymm no zmm either, whatever the other bits say
    X86Words words = sapphire_rapids();
    words.xcr0 &= ~state;
    CHECK_EQ(levels(words), 0u);
  }
}

TEST(words_of_absent_leaves_mean_nothing) {
  X86Words words = sapphire_rapids();
  words.max_leaf = 6;
  CHECK_EQ(levels(words), 0u);
  words = sapphire_rapids();
  words.leaf7_max_subleaf = 0;
  CHECK_EQ(levels(words), kAvx2 | kAvx512 | kAvx512Vnni);
  words = {0, ~0u, ~0u, ~0u, ~0u, ~0u, ~uint64_t{0}};
  CHECK_EQ(levels(words), 0u);
}

TEST(levels_of_arm_cpus) {
  constexpr uint64_t asimddp = 0x100000, i8mm = 0x2000;
  CHECK_EQ(levels(ArmWords{0, 0}), +kNeon);
  CHECK_EQ(levels(ArmWords{asimddp, 0}), kNeon | kDotprod);
  CHECK_EQ(levels(ArmWords{asimddp, i8mm}), kNeon | kDotprod | kI8mm);
  CHECK_EQ(levels(ArmWords{0, i8mm}), +kNeon);
  CHECK_EQ(levels(ArmWords{~asimddp, ~i8mm}), +kNeon);
}

TEST(built_isas_are_ordered_best_first) {
  const std::string order = "avx512vnni avx512 avxvnni avx2 i8mm dotprod neon scalar";
  size_t last = 0;
  for (const std::string& name : list(&lowbit_built_isa)) {
    const size_t at = (" " + order + " ").find(" " + name + " ");
    CHECK(at != std::string::npos);
    CHECK(at >= last);
    last = at;
  }
  CHECK_EQ(list(&lowbit_built_isa).back(), "scalar");
  CHECK_EQ(list(&lowbit_available_isa).back(), "scalar");
  CHECK(lowbit_built_isa(-1) == nullptr);
  CHECK(lowbit_available_isa(-1) == nullptr);
  CHECK(lowbit_available_isa(1000) == nullptr);
}

TEST(the_best_isa_of_the_levels_is_chosen) {
  const auto built = list(&lowbit_built_isa);
  lowbit_error error = {};
  CHECK_EQ(name_of(find_kernels(nullptr, nullptr, kAll, &error)), built.front());
  CHECK_EQ(name_of(find_kernels(nullptr, "", kAll, &error)), built.front());  // empty is unset
  CHECK_EQ(name_of(find_kernels(nullptr, nullptr, 0, &error)), "scalar");
  for (const std::string& name : built) {
    CHECK_EQ(name_of(find_kernels(name.c_str(), nullptr, kAll, &error)), name);
    CHECK_EQ(name_of(find_kernels(nullptr, name.c_str(), kAll, &error)), name);
    CHECK_EQ(name_of(find_kernels("scalar", name.c_str(), kAll, &error)), "scalar");  // the argument wins
  }
}

TEST(the_isas_of_this_cpu_can_be_chosen) {
  lowbit_error error = {};
  for (const std::string& name : list(&lowbit_available_isa))
    CHECK_EQ(name_of(find_kernels(name.c_str(), &error)), name);
}

TEST(an_isa_this_cpu_lacks_is_refused) {
  for (const std::string& name : list(&lowbit_built_isa)) {
    if (name == "scalar") continue;
    lowbit_error error = {};
    CHECK(find_kernels(name.c_str(), nullptr, 0, &error) == nullptr);
    CHECK_EQ(error.status, LOWBIT_UNAVAILABLE);
    CHECK(contains(error.message, "'" + name + "'"));
    CHECK(contains(error.message, "this CPU or operating system does not support it"));
    CHECK(contains(error.message, "available: scalar"));
    CHECK(!contains(error.message, "LOWBIT_ISA"));
    CHECK(find_kernels(nullptr, name.c_str(), 0, &error) == nullptr);
    CHECK(contains(error.message, "LOWBIT_ISA"));
  }
}

TEST(a_misspelt_isa_is_refused) {
  for (const char* name : {"avx-2", "AVX2", "avx2 ", "scala", ""}) {
    lowbit_error error = {};
    CHECK(find_kernels(name, nullptr, kAll, &error) == nullptr);
    CHECK_EQ(error.status, LOWBIT_UNAVAILABLE);
    CHECK(contains(error.message, "'" + std::string(name) + "' is not an ISA of this build"));
    for (const std::string& built : list(&lowbit_built_isa)) CHECK(contains(error.message, built));
  }
  lowbit_error error = {};
  CHECK(find_kernels(nullptr, "avx3", kAll, &error) == nullptr);
  CHECK(contains(error.message, "'avx3' (from the environment variable LOWBIT_ISA)"));
  CHECK(find_kernels("avx3", nullptr, kAll, nullptr) == nullptr);
  CHECK(find_kernels(std::string(10000, 'x').c_str(), nullptr, kAll, &error) == nullptr);
  CHECK(contains(error.message, "available: "));  // the long name has not pushed it out
}

TEST(description_fits_its_buffer) {
  char whole[508];
  lowbit_cpu_description(whole, sizeof whole);
  CHECK(std::strlen(whole) > 0);
  for (size_t size = 0; size < 300; ++size) {
    std::vector<char> text(size + 1, '#');
    lowbit_cpu_description(text.data(), size);
    CHECK_EQ(text[size], '#');
    if (size) CHECK_EQ(std::string(text.data()), std::string(whole).substr(0, size - 1));
  }
}

TEST(version_is_the_builds) { CHECK_EQ(std::string(lowbit_version()), LOWBIT_VERSION); }
