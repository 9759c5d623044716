// The kernels, compiled for the instruction set "baseline".

// Included before the target changes: inline code from these headers must run
// on every processor.
#include "kernels/cpu/headers.h"

#define CLINOMETER_ISA baseline
#define CLINOMETER_LANES 4
#include "kernels/cpu/kernels-inl.h"
