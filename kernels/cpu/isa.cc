#include "kernels/cpu/isa.h"

#include <cstdlib>
#include <string>

#ifdef __x86_64__
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace clinometer {
namespace {

constexpr char kVariable[] = "CLINOMETER_CPU_ISA";
constexpr Isa kAll[] = {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512,
                        Isa::kAvx512Bf16, Isa::kAmx};

std::string Request() {
  const char* value = std::getenv(kVariable);
  return value == nullptr ? "" : value;
}

#ifdef __x86_64__
// Registers that the operating system saves: SSE and AVX, and those of AVX-512
// and of AMX.
constexpr unsigned kAvxRegisters = 0x6;
constexpr unsigned kAvx512Registers = 0xe6;
constexpr unsigned kAmxRegisters = 0x60000;

bool Has(unsigned value, unsigned bits) { return (value & bits) == bits; }

// Of processors with OSXSAVE.
unsigned SavedRegisters() {
  unsigned low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Of processors with AVX-512.
Isa WidestBfloat16() {
#ifdef CLINOMETER_HAS_BFLOAT16
  constexpr unsigned kAvx512Bf16 = 1 << 5;  // leaf 7, 1: eax
  unsigned subleaves = 0, eax = 0, ebx = 0, ecx = 0, edx = 0, unused = 0;
  __get_cpuid_count(7, 0, &subleaves, &unused, &unused, &edx);
  if (subleaves == 0 || !__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &unused) ||
      !Has(eax, kAvx512Bf16)) {
    return Isa::kAvx512;
  }
#ifdef __linux__
  constexpr unsigned kAmxBf16Tile = 1 << 22 | 1 << 24;  // leaf 7, 0: edx
  // Linux wants to be asked, once in a process, before AMX is used.
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  if (Has(edx, kAmxBf16Tile) && Has(SavedRegisters(), kAmxRegisters) &&
      syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0) {
    return Isa::kAmx;
  }
#endif
  __get_cpuid(0, &eax, &ebx, &ecx, &edx);
  if (ebx == signature_AMD_ebx && ecx == signature_AMD_ecx &&
      edx == signature_AMD_edx) {
    return Isa::kAvx512Bf16;
  }
#endif
  return Isa::kAvx512;
}
#endif

}  // namespace

std::string IsaName(Isa isa) {
  switch (isa) {
    case Isa::kBaseline:
      return "baseline";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Bf16:
      return "avx512_bf16";
    case Isa::kAmx:
      return "amx";
  }
  return "";
}

#ifdef __x86_64__
Isa WidestIsa() {
  // Not __builtin_cpu_supports: in what zig's Clang links, it supports nothing.
  unsigned eax = 0, unused = 0, leaf1_ecx = 0, leaf7_ebx = 0;
  if (!__get_cpuid(1, &eax, &unused, &leaf1_ecx, &unused) ||
      !__get_cpuid_count(7, 0, &eax, &leaf7_ebx, &unused, &unused)) {
    return Isa::kBaseline;
  }
  if (!Has(leaf1_ecx, bit_OSXSAVE | bit_AVX | bit_FMA) ||
      !Has(leaf7_ebx, bit_AVX2) || !Has(SavedRegisters(), kAvxRegisters)) {
    return Isa::kBaseline;
  }
  constexpr unsigned kAvx512 =
      bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  return Has(leaf7_ebx, kAvx512) && Has(SavedRegisters(), kAvx512Registers)
             ? WidestBfloat16()
             : Isa::kAvx2;
}
#else
Isa WidestIsa() { return Isa::kBaseline; }
#endif

std::string IsaRequestError() {
  const std::string request = Request();
  if (request.empty()) return "";
  for (const Isa isa : kAll) {
    if (IsaName(isa) != request) continue;
    if (isa <= WidestIsa()) return "";
    return std::string(kVariable) + "=" + request +
           ": this machine's processor runs no more than " +
           IsaName(WidestIsa());
  }
  return std::string(kVariable) + "=" + request +
         ": accepted are baseline, avx2, avx512, avx512_bf16 and amx";
}

Isa ActiveIsa() {
  static const Isa active = [] {
    const std::string request = Request();
    if (IsaRequestError().empty()) {
      for (const Isa isa : kAll) {
        if (IsaName(isa) == request) return isa;
      }
    }
    return WidestIsa();
  }();
  return active;
}

}  // namespace clinometer
