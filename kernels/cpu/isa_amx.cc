// The kernels that multiply bfloat16 numbers, compiled for the instruction set
// "amx".

// Included before the target changes: inline code from these headers must run
// on every processor.
#include "kernels/cpu/headers.h"

#ifdef CLINOMETER_HAS_BFLOAT16
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(                                                          \
    __attribute__((target(                                                             \
        "avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,amx-tile,amx-bf16,avx2,fma"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target( \
    "avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,amx-tile,amx-bf16,avx2,fma,prefer-vector-width=512")
#endif  // __clang__
#define CLINOMETER_ISA amx
#define CLINOMETER_LANES 16
#define CLINOMETER_BFLOAT16
#define CLINOMETER_AMX
#include "kernels/cpu/relative_attention_bfloat16-inl.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif  // __clang__
#endif  // CLINOMETER_HAS_BFLOAT16
