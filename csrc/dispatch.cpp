#include "dispatch.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "error.hpp"

#if defined(__x86_64__) || defined(_M_X64) || defined(__i386__) || defined(_M_IX86)
#define LOWBIT_X86
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
#define LOWBIT_ARM64
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#include <windows.h>
#endif
#endif

namespace lowbit {
namespace {

struct Isa {
  const char* name;
  const Kernels* kernels;
  uint32_t level;  // 0: runs everywhere
};

// Best first. CMake defines LOWBIT_HAVE_<ISA> for each ISA it builds.
const Isa kIsas[] = {
#ifdef LOWBIT_HAVE_AVX512VNNI
    {"avx512vnni", &kernels_avx512vnni, kAvx512Vnni},
#endif
#ifdef LOWBIT_HAVE_AVX512
    {"avx512", &kernels_avx512, kAvx512},
#endif
#ifdef LOWBIT_HAVE_AVXVNNI
    {"avxvnni", &kernels_avxvnni, kAvxVnni},
#endif
#ifdef LOWBIT_HAVE_AVX2
    {"avx2", &kernels_avx2, kAvx2},
#endif
#ifdef LOWBIT_HAVE_I8MM
    {"i8mm", &kernels_i8mm, kI8mm},
#endif
#ifdef LOWBIT_HAVE_DOTPROD
    {"dotprod", &kernels_dotprod, kDotprod},
#endif
#ifdef LOWBIT_HAVE_NEON
    {"neon", &kernels_neon, kNeon},
#endif
    {"scalar", &kernels_scalar, 0},
};

// Appends what fits.
void append(char* text, size_t size, const char* more) {
  const size_t used = std::strlen(text);
  std::snprintf(text + used, size - used, "%s", more);
}

bool runs(const Isa& isa, uint32_t levels) { return (isa.level & levels) == isa.level; }

struct Feature {
  const char* name;
  uint32_t X86Words::* word;
  uint32_t mask;
};

constexpr uint32_t kOsxsave = 1u << 27;  // leaf 1 ecx
constexpr Feature kFeatures[] = {
    {"avx", &X86Words::leaf1_ecx, 1u << 28},       {"fma", &X86Words::leaf1_ecx, 1u << 12},
    {"f16c", &X86Words::leaf1_ecx, 1u << 29},      {"avx2", &X86Words::leaf7_ebx, 1u << 5},
    {"avx_vnni", &X86Words::leaf7_1_eax, 1u << 4}, {"avx512f", &X86Words::leaf7_ebx, 1u << 16},
    {"avx512bw", &X86Words::leaf7_ebx, 1u << 30},  {"avx512dq", &X86Words::leaf7_ebx, 1u << 17},
    {"avx512vl", &X86Words::leaf7_ebx, 1u << 31},  {"avx512_vnni", &X86Words::leaf7_ecx, 1u << 11},
};

bool has(const X86Words& words, const char* name) {
  for (const Feature& feature : kFeatures)
    if (std::strcmp(feature.name, name) == 0) return (words.*feature.word & feature.mask) != 0;
  return false;
}

constexpr uint64_t kYmmState = 0x06;  // xmm, ymm
constexpr uint64_t kZmmState = 0xe6;  // and opmask, upper halves of zmm0..15, zmm16..31
constexpr uint64_t kHwcapAsimddp = 1u << 20;
constexpr uint64_t kHwcap2I8mm = 1u << 13;

// Above its highest leaf an Intel CPU answers with that leaf's words: they mean nothing.
X86Words without_absent_leaves(X86Words words) {
  if (words.max_leaf < 1) words.leaf1_ecx = 0;
  if (words.max_leaf < 7) words.leaf7_max_subleaf = words.leaf7_ebx = words.leaf7_ecx = 0;
  if (words.leaf7_max_subleaf < 1) words.leaf7_1_eax = 0;
  return words;
}

#if defined(LOWBIT_X86)

struct Cpuid {
  uint32_t eax, ebx, ecx, edx;
};

Cpuid cpuid(uint32_t leaf, uint32_t subleaf) {
#if defined(_MSC_VER)
  int r[4];
  __cpuidex(r, static_cast<int>(leaf), static_cast<int>(subleaf));
  return {static_cast<uint32_t>(r[0]), static_cast<uint32_t>(r[1]), static_cast<uint32_t>(r[2]),
          static_cast<uint32_t>(r[3])};
#else
  Cpuid r;
  __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
  return r;
#endif
}

uint64_t xgetbv() {
  uint32_t low, high;
  LOWBIT_XGETBV(low, high);
  return static_cast<uint64_t>(high) << 32 | low;
}

X86Words read_words() {
  X86Words words = {};
  words.max_leaf = cpuid(0, 0).eax;
  words.leaf1_ecx = cpuid(1, 0).ecx;
  const Cpuid leaf7 = cpuid(7, 0);
  words.leaf7_max_subleaf = leaf7.eax;
  words.leaf7_ebx = leaf7.ebx;
  words.leaf7_ecx = leaf7.ecx;
  words.leaf7_1_eax = cpuid(7, 1).eax;
  words.xcr0 = words.leaf1_ecx & kOsxsave ? xgetbv() : 0;
  return words;
}

void describe(char* text, size_t size) {
  char brand[49] = "x86";
  if (cpuid(0x80000000u, 0).eax >= 0x80000004u) {
    for (uint32_t i = 0; i < 3; ++i) {
      const Cpuid r = cpuid(0x80000002u + i, 0);
      std::memcpy(brand + 16 * i, &r, sizeof r);
    }
  }
  append(text, size, brand + std::strspn(brand, " "));
  const X86Words words = without_absent_leaves(read_words());
  append(text, size, "; CPU:");
  for (const Feature& feature : kFeatures) {
    if (!(words.*feature.word & feature.mask)) continue;
    append(text, size, " ");
    append(text, size, feature.name);
  }
  append(text, size, "; OS state:");
  if ((words.xcr0 & kYmmState) == kYmmState) append(text, size, " ymm");
  if ((words.xcr0 & kZmmState) == kZmmState) append(text, size, " zmm");
}

#elif defined(LOWBIT_ARM64)

ArmWords read_words() {
  ArmWords words = {};
#if defined(__linux__)
  words = {getauxval(AT_HWCAP), getauxval(AT_HWCAP2)};
#elif defined(__APPLE__)
  const auto on = [](const char* name) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
  };
  if (on("hw.optional.arm.FEAT_DotProd")) words.hwcap |= kHwcapAsimddp;
  if (on("hw.optional.arm.FEAT_I8MM")) words.hwcap2 |= kHwcap2I8mm;
#elif defined(_WIN32)
  if (IsProcessorFeaturePresent(43)) words.hwcap |= kHwcapAsimddp;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
  if (IsProcessorFeaturePresent(66)) words.hwcap2 |= kHwcap2I8mm;   // PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE
#endif
  return words;
}

void describe(char* text, size_t size) {
  char brand[64] = "aarch64";
#if defined(__APPLE__)
  size_t brand_size = sizeof brand - 1;
  sysctlbyname("machdep.cpu.brand_string", brand, &brand_size, nullptr, 0);
#endif
  const ArmWords words = read_words();
  append(text, size, brand);
  append(text, size, "; CPU: asimd");
  if (words.hwcap & kHwcapAsimddp) append(text, size, " asimddp");
  if (words.hwcap2 & kHwcap2I8mm) append(text, size, " i8mm");
}

#else

void describe(char* text, size_t size) { append(text, size, "a CPU for which lowbit has portable code only"); }

#endif

uint32_t detected_levels() {
#if defined(LOWBIT_X86) || defined(LOWBIT_ARM64)
  constexpr uint32_t kKnown = 1u << 31;
  static std::atomic<uint32_t> detected{0};  // not a guarded static, which would need the C++ runtime
  uint32_t found = detected.load(std::memory_order_relaxed);
  if (!found) {
    found = levels(read_words()) | kKnown;
    detected.store(found, std::memory_order_relaxed);  // the same, whoever is first
  }
  return found & ~kKnown;
#else
  return 0;
#endif
}

struct IsaList {
  char text[128];  // all names of one architecture take 45
};

IsaList available(uint32_t levels) {
  IsaList list = {};
  for (const Isa& isa : kIsas) {
    if (!runs(isa, levels)) continue;
    if (list.text[0]) append(list.text, sizeof list.text, ", ");
    append(list.text, sizeof list.text, isa.name);
  }
  return list;
}

}  // namespace

uint32_t levels(const X86Words& raw) {
  const X86Words words = without_absent_leaves(raw);
  const bool ymm = (words.leaf1_ecx & kOsxsave) && (words.xcr0 & kYmmState) == kYmmState;
  const bool zmm = ymm && (words.xcr0 & kZmmState) == kZmmState;
  const bool avx2 = ymm && has(words, "avx") && has(words, "avx2") && has(words, "fma") && has(words, "f16c");
  const bool avx512 = avx2 && zmm && has(words, "avx512f") && has(words, "avx512bw") && has(words, "avx512dq") &&
                      has(words, "avx512vl");
  return (avx2 ? kAvx2 : 0u) | (avx2 && has(words, "avx_vnni") ? kAvxVnni : 0u) | (avx512 ? kAvx512 : 0u) |
         (avx512 && has(words, "avx512_vnni") ? kAvx512Vnni : 0u);
}

uint32_t levels(const ArmWords& words) {
  const bool dotprod = (words.hwcap & kHwcapAsimddp) != 0;
  const bool i8mm = dotprod && (words.hwcap2 & kHwcap2I8mm) != 0;
  return kNeon | (dotprod ? kDotprod : 0u) | (i8mm ? kI8mm : 0u);
}

const Kernels* find_kernels(const char* name, const char* environment, uint32_t levels, lowbit_error* error) {
  const char* asked = name;
  if (!asked && environment && *environment) asked = environment;
  const char* from = name ? "" : " (from the environment variable LOWBIT_ISA)";
  for (const Isa& isa : kIsas) {
    if (!asked && runs(isa, levels)) return isa.kernels;
    if (!asked || std::strcmp(isa.name, asked) != 0) continue;
    if (runs(isa, levels)) return isa.kernels;
    fail(error, LOWBIT_UNAVAILABLE,
         "isa: '%s'%s is in this build, but this CPU or operating system does not support it; available: %s", asked,
         from, available(levels).text);
    return nullptr;
  }
  fail(error, LOWBIT_UNAVAILABLE, "isa: '%.64s'%s is not an ISA of this build of lowbit; available: %s", asked, from,
       available(levels).text);
  return nullptr;
}

const Kernels* find_kernels(const char* name, lowbit_error* error) {
  return find_kernels(name, std::getenv("LOWBIT_ISA"), detected_levels(), error);
}

}  // namespace lowbit

// The build's version (python/lowbit/_version.py) and the header's are one.
#define LOWBIT_TEXT_OF(x) #x
#define LOWBIT_TEXT(x) LOWBIT_TEXT_OF(x)
static_assert(std::string_view(LOWBIT_VERSION) == LOWBIT_TEXT(LOWBIT_VERSION_MAJOR) "." LOWBIT_TEXT(
                                                      LOWBIT_VERSION_MINOR) "." LOWBIT_TEXT(LOWBIT_VERSION_PATCH),
              "python/lowbit/_version.py and LOWBIT_VERSION_* of lowbit.h must say the same version");

const char* lowbit_version(void) { return LOWBIT_VERSION; }

int lowbit_version_number(void) { return LOWBIT_VERSION_NUMBER; }

const char* lowbit_built_isa(int index) {
  const int count = static_cast<int>(sizeof lowbit::kIsas / sizeof *lowbit::kIsas);
  return 0 <= index && index < count ? lowbit::kIsas[index].name : nullptr;
}

const char* lowbit_available_isa(int index) {
  if (index < 0) return nullptr;
  for (const lowbit::Isa& isa : lowbit::kIsas)
    if (lowbit::runs(isa, lowbit::detected_levels()) && index-- == 0) return isa.name;
  return nullptr;
}

void lowbit_cpu_description(char* text, size_t size) {
  if (!text || size == 0) return;
  text[0] = '\0';
  lowbit::describe(text, size);
}
