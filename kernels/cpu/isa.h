#ifndef CLINOMETER_KERNELS_CPU_ISA_H_
#define CLINOMETER_KERNELS_CPU_ISA_H_

#include <string>

namespace clinometer {

// The instruction sets that the kernels are compiled for, each in its own
// translation unit.
enum class Isa { kBaseline, kAvx2, kAvx512 };

// "baseline", "avx2" or "avx512".
std::string IsaName(Isa isa);

// The widest instruction set that this machine supports.
Isa WidestIsa();

// The instruction set in use: CLINOMETER_CPU_ISA, else the widest. Read once.
Isa ActiveIsa();

// Why CLINOMETER_CPU_ISA cannot be used (unknown, or not supported by this
// machine), or "".
std::string IsaRequestError();

}  // namespace clinometer

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

#endif  // CLINOMETER_KERNELS_CPU_ISA_H_
