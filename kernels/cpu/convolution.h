#ifndef CLINOMETER_KERNELS_CPU_CONVOLUTION_H_
#define CLINOMETER_KERNELS_CPU_CONVOLUTION_H_

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {

// Depthwise convolutions along the sequence, where the channels of a head share
// weights: output[s, c] = sum over j of weight j * x[s + j - pad_left, c],
// where x is zero outside the sequence. float32, row-major. The weights of a
// light convolution are [H, K], of a dynamic one [S, H, K].
//
// Shapes: B batch, S length, d channels, H heads, K taps.
struct ConvolutionInputs {
  int64_t batch;
  int64_t length;
  int64_t channels;
  int64_t heads;
  int64_t taps;
  int64_t pad_left;
  const float* x;        // [1 or B, S, d]
  int64_t x_stride;      // between examples; 0 when shared
  const float* weights;  // [1 or B, ...]
  int64_t weights_stride;
};

struct ConvolutionForwardArgs {
  ConvolutionInputs inputs;
  float* output;  // [B, S, d]
};

struct ConvolutionBackwardArgs {
  ConvolutionInputs inputs;
  const float* output_grad;  // [1 or B, S, d]
  int64_t output_grad_stride;
  float* x_grad;        // [B, S, d]
  float* weights_grad;  // [B, ...], of each example
};

CLINOMETER_DECLARE_KERNEL(LightConvForward, ConvolutionForwardArgs)
CLINOMETER_DECLARE_KERNEL(LightConvBackward, ConvolutionBackwardArgs)
CLINOMETER_DECLARE_KERNEL(DynamicConvForward, ConvolutionForwardArgs)
CLINOMETER_DECLARE_KERNEL(DynamicConvBackward, ConvolutionBackwardArgs)

XLA_FFI_DECLARE_HANDLER_SYMBOL(LightConvForwardHandler);
XLA_FFI_DECLARE_HANDLER_SYMBOL(LightConvBackwardHandler);
XLA_FFI_DECLARE_HANDLER_SYMBOL(DynamicConvForwardHandler);
XLA_FFI_DECLARE_HANDLER_SYMBOL(DynamicConvBackwardHandler);

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_CONVOLUTION_H_
