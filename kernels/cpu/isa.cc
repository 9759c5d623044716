#include "kernels/cpu/isa.h"

#include <cstdlib>
#include <string>

namespace clinometer {
namespace {

constexpr char kVariable[] = "CLINOMETER_CPU_ISA";
constexpr Isa kAll[] = {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512};

std::string Request() {
  const char* value = std::getenv(kVariable);
  return value == nullptr ? "" : value;
}

}  // namespace

std::string IsaName(Isa isa) {
  switch (isa) {
    case Isa::kBaseline:
      return "baseline";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "";
}

#ifdef __x86_64__
Isa WidestIsa() {
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    return Isa::kAvx512;
  }
  return avx2 ? Isa::kAvx2 : Isa::kBaseline;
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
         ": accepted are baseline, avx2 and avx512";
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
