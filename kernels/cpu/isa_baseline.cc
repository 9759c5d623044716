// The kernels, compiled for the instruction set "baseline".

// Before the target changes: what these headers define must run everywhere.
#include "kernels/cpu/headers.h"

#define CLINOMETER_ISA baseline
#define CLINOMETER_LANES 4
#include "kernels/cpu/kernels-inl.h"
