// All kernels, for the instruction set that the including isa_*.cc sets.

#ifndef CLINOMETER_KERNELS_CPU_KERNELS_INL_H_
#define CLINOMETER_KERNELS_CPU_KERNELS_INL_H_

#include "kernels/cpu/dynamic_conv-inl.h"
#include "kernels/cpu/light_conv-inl.h"
#include "kernels/cpu/relative_attention-inl.h"

#endif  // CLINOMETER_KERNELS_CPU_KERNELS_INL_H_
