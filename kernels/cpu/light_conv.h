#ifndef CLINOMETER_KERNELS_CPU_LIGHT_CONV_H_
#define CLINOMETER_KERNELS_CPU_LIGHT_CONV_H_

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {

// Depthwise convolution along the sequence, one filter for the channels of a
// head: output[s, c] = sum over j of weights[head of c, j] * x[s + j -
// pad_left, c], where x is zero outside of the sequence. float32, row-major.
//
// Shapes: B batch, S length, d channels, H heads, K taps.
struct LightConvInputs {
  int64_t batch;
  int64_t length;
  int64_t channels;
  int64_t heads;
  int64_t taps;
  int64_t pad_left;
  const float* x;        // [1 or B, S, d]
  int64_t x_stride;      // between examples; 0 when shared
  const float* weights;  // [1 or B, H, K]
  int64_t weights_stride;
};

struct LightConvForwardArgs {
  LightConvInputs inputs;
  float* output;  // [B, S, d]
};

struct LightConvBackwardArgs {
  LightConvInputs inputs;
  const float* output_grad;  // [1 or B, S, d]
  int64_t output_grad_stride;
  float* x_grad;        // [B, S, d]
  float* weights_grad;  // [B, H, K], of each example
};

CLINOMETER_DECLARE_KERNEL(LightConvForward, LightConvForwardArgs)
CLINOMETER_DECLARE_KERNEL(LightConvBackward, LightConvBackwardArgs)

XLA_FFI_DECLARE_HANDLER_SYMBOL(LightConvForwardHandler);
XLA_FFI_DECLARE_HANDLER_SYMBOL(LightConvBackwardHandler);

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_LIGHT_CONV_H_
