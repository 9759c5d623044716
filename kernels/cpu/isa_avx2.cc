// The kernels, compiled for the instruction set "avx2".

// Included before the target changes: inline code from these headers must run
// on every processor.
#include "kernels/cpu/headers.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define CLINOMETER_ISA avx2
#define CLINOMETER_LANES 8
#include "kernels/cpu/kernels-inl.h"
#pragma GCC pop_options
