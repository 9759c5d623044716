// All kernels, for the instruction set selected by the including isa_*.cc.

#ifndef CLINOMETER_KERNELS_CPU_KERNELS_INL_H_
#define CLINOMETER_KERNELS_CPU_KERNELS_INL_H_

#include "kernels/cpu/dynamic_conv-inl.h"
#include "kernels/cpu/expert_matmul-inl.h"
#include "kernels/cpu/light_conv-inl.h"
#include "kernels/cpu/performer_attention-inl.h"
#include "kernels/cpu/relative_attention-inl.h"
#include "kernels/cpu/switch_route-inl.h"
#include "kernels/cpu/switch_rows-inl.h"

#endif  // CLINOMETER_KERNELS_CPU_KERNELS_INL_H_
