#ifndef CLINOMETER_KERNELS_CPU_ISA_H_
#define CLINOMETER_KERNELS_CPU_ISA_H_

#include <string>

namespace clinometer {

// The instruction sets that the kernels are compiled for, each in its own
// translation unit.
enum class Isa { kBaseline, kAvx2, kAvx512, kAvx512Bf16, kAmx };

// "baseline", "avx2", "avx512", "avx512_bf16" or "amx".
std::string IsaName(Isa isa);

// The fastest instruction set that this machine supports. Where Intel's
// processors have no AMX, their AVX512-BF16 is no faster than float32.
Isa WidestIsa();

// The instruction set in use: CLINOMETER_CPU_ISA, else the fastest. Read once.
Isa ActiveIsa();

// Whether the instruction set in use multiplies bfloat16 numbers.
inline bool MultipliesBfloat16() { return ActiveIsa() >= Isa::kAvx512Bf16; }

// Why CLINOMETER_CPU_ISA cannot be used (unknown, or not supported by this
// machine), or "".
std::string IsaRequestError();

}  // namespace clinometer

// Whether the compiler knows AVX512-BF16 and AMX.
#if defined(__x86_64__) && (defined(__clang__) || __GNUC__ >= 11)
#define CLINOMETER_HAS_BFLOAT16
#endif

// Declares a kernel in the namespace of every instruction set, and a function
// of the same name that calls the active one. Other processors than x86-64 have
// only the baseline, whose vectors are NEON's on ARM.
#ifdef __x86_64__
#define CLINOMETER_DECLARE_KERNEL(Name, Args)            \
  namespace baseline {                                   \
  void Name(const Args& args, const Pool& pool);         \
  }                                                      \
  namespace avx2 {                                       \
  void Name(const Args& args, const Pool& pool);         \
  }                                                      \
  namespace avx512 {                                     \
  void Name(const Args& args, const Pool& pool);         \
  }                                                      \
  inline void Name(const Args& args, const Pool& pool) { \
    switch (ActiveIsa()) {                               \
      case Isa::kBaseline:                               \
        return baseline::Name(args, pool);               \
      case Isa::kAvx2:                                   \
        return avx2::Name(args, pool);                   \
      case Isa::kAvx512:                                 \
      case Isa::kAvx512Bf16:                             \
      case Isa::kAmx:                                    \
        return avx512::Name(args, pool);                 \
    }                                                    \
  }
#else
#define CLINOMETER_DECLARE_KERNEL(Name, Args)            \
  namespace baseline {                                   \
  void Name(const Args& args, const Pool& pool);         \
  }                                                      \
  inline void Name(const Args& args, const Pool& pool) { \
    baseline::Name(args, pool);                          \
  }
#endif  // __x86_64__

// Declares a kernel of bfloat16 numbers, and a function of the same name that
// calls the active one, for use where `MultipliesBfloat16()`.
#ifdef CLINOMETER_HAS_BFLOAT16
#define CLINOMETER_DECLARE_BFLOAT16_KERNEL(Name, Args)   \
  namespace avx512_bf16 {                                \
  void Name(const Args& args, const Pool& pool);         \
  }                                                      \
  namespace amx {                                        \
  void Name(const Args& args, const Pool& pool);         \
  }                                                      \
  inline void Name(const Args& args, const Pool& pool) { \
    if (ActiveIsa() == Isa::kAmx) {                      \
      amx::Name(args, pool);                             \
    } else {                                             \
      avx512_bf16::Name(args, pool);                     \
    }                                                    \
  }
#else
#define CLINOMETER_DECLARE_BFLOAT16_KERNEL(Name, Args) \
  inline void Name(const Args&, const Pool&) {}
#endif  // CLINOMETER_HAS_BFLOAT16

#endif  // CLINOMETER_KERNELS_CPU_ISA_H_
