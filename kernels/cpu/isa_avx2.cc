// The kernels, compiled for the instruction set "avx2".

// Included before the target changes: inline code from these headers must run
// on every processor.
#include "kernels/cpu/headers.h"

#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif  // __clang__
#define CLINOMETER_ISA avx2
#define CLINOMETER_LANES 8
#include "kernels/cpu/kernels-inl.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif  // __clang__
#endif  // __x86_64__
