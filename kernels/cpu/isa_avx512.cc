// The kernels, compiled for the instruction set "avx512".

// Included before the target changes: inline code from these headers must run
// on every processor.
#include "kernels/cpu/headers.h"

#pragma GCC push_options
#pragma GCC target( \
    "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")
#define CLINOMETER_ISA avx512
#define CLINOMETER_LANES 16
#include "kernels/cpu/kernels-inl.h"
#pragma GCC pop_options
