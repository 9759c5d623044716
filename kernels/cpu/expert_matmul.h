#ifndef CLINOMETER_KERNELS_CPU_EXPERT_MATMUL_H_
#define CLINOMETER_KERNELS_CPU_EXPERT_MATMUL_H_

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {

// One matrix product per expert, over its filled slots; float32, row-major.
// Rows from an expert's count on are taken as zero.
//
// Shapes: B groups of tokens, E experts, C slots per expert, d and f widths.
struct ExpertMatmulInputs {
  int64_t batch;
  int64_t experts;
  int64_t capacity;
  int64_t input_width;
  int64_t output_width;
  const float* x;         // [B, E, C, d]
  const float* w;         // [1 or B, E, d, f]
  int64_t w_stride;       // between examples; 0 when shared
  const int32_t* counts;  // [1 or B, E]
  int64_t counts_stride;
};

struct ExpertMatmulForwardArgs {
  ExpertMatmulInputs inputs;
  float* y;  // [B, E, C, f]
};

struct ExpertMatmulBackwardArgs {
  ExpertMatmulInputs inputs;
  const float* y_grad;  // [B, E, C, f]
  float* x_grad;        // [B, E, C, d]
  int64_t w_groups;     // a divisor of B
  float* w_grad;        // [w_groups, E, d, f], each the sum of its part of B
};

CLINOMETER_DECLARE_KERNEL(ExpertMatmulForward, ExpertMatmulForwardArgs)
CLINOMETER_DECLARE_KERNEL(ExpertMatmulBackward, ExpertMatmulBackwardArgs)

XLA_FFI_DECLARE_HANDLER_SYMBOL(ExpertMatmulForwardHandler);
XLA_FFI_DECLARE_HANDLER_SYMBOL(ExpertMatmulBackwardHandler);

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_EXPERT_MATMUL_H_
