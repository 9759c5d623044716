#ifndef CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_H_
#define CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_H_

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {

// Softmax attention with a bias per distance; row-major. A Number is a float,
// or the bits of a bfloat16 number.
//
// Shapes: B batch, T queries, S keys, H heads, D head width.
template <typename Number>
struct RelativeAttentionInputsOf {
  int64_t batch;
  int64_t query_length;
  int64_t key_length;
  int64_t heads;
  int64_t width;
  bool causal;          // query t attends to keys s <= t + offset
  bool masked;          // only to keys of its own segment
  const Number* query;  // [B, T, H, D]
  const Number* key;    // [B, S, H, D]
  const Number* value;  // [B, S, H, D]
  // [1 or B, H, T + S - 1], entry s - t + T - 1; null for no bias.
  const float* bias;
  int64_t bias_stride;            // between examples; 0 when shared
  const int32_t* query_segments;  // [1 or B, T]
  int64_t query_segments_stride;
  const int32_t* key_segments;  // [1 or B, S]
  int64_t key_segments_stride;
  const int32_t* offset;  // [1 or B]
  int64_t offset_stride;
};

// A query with no key to attend to gives the mean of all values.
template <typename Number>
struct RelativeAttentionForwardArgsOf {
  RelativeAttentionInputsOf<Number> inputs;
  Number* output;      // [B, T, H, D]
  float* log_sum_exp;  // [B, H, T]; kMasked where no key may be attended
};

template <typename Number>
struct RelativeAttentionBackwardArgsOf {
  RelativeAttentionInputsOf<Number> inputs;
  const Number* output;
  const float* log_sum_exp;
  const Number* output_grad;  // [B, T, H, D]
  Number* query_grad;         // as the inputs
  Number* key_grad;
  Number* value_grad;
  float* bias_grad;  // [B, H, T + S - 1], of each example; null without a bias
};

using RelativeAttentionInputs = RelativeAttentionInputsOf<float>;
using RelativeAttentionForwardArgs = RelativeAttentionForwardArgsOf<float>;
using RelativeAttentionBackwardArgs = RelativeAttentionBackwardArgsOf<float>;

CLINOMETER_DECLARE_KERNEL(RelativeAttentionForward,
                          RelativeAttentionForwardArgs)
CLINOMETER_DECLARE_KERNEL(RelativeAttentionBackward,
                          RelativeAttentionBackwardArgs)
CLINOMETER_DECLARE_BFLOAT16_KERNEL(RelativeAttentionForward,
                                   RelativeAttentionForwardArgsOf<uint16_t>)
CLINOMETER_DECLARE_BFLOAT16_KERNEL(RelativeAttentionBackward,
                                   RelativeAttentionBackwardArgsOf<uint16_t>)

XLA_FFI_DECLARE_HANDLER_SYMBOL(RelativeAttentionForwardHandler);
XLA_FFI_DECLARE_HANDLER_SYMBOL(RelativeAttentionBackwardHandler);
XLA_FFI_DECLARE_HANDLER_SYMBOL(RelativeAttentionForwardOfBfloat16Handler);
XLA_FFI_DECLARE_HANDLER_SYMBOL(RelativeAttentionBackwardOfBfloat16Handler);

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_H_
