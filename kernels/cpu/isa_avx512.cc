// The kernels, compiled for the instruction set "avx512".

// Included before the target changes: inline code from these headers must run
// on every processor.
#include "kernels/cpu/headers.h"

#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(                                               \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target( \
    "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")
#endif  // __clang__
#define CLINOMETER_ISA avx512
#define CLINOMETER_LANES 16
#include "kernels/cpu/kernels-inl.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif  // __clang__
#endif  // __x86_64__
