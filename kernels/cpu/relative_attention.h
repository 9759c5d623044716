#ifndef CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_H_
#define CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_H_

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {

// Softmax attention with a bias per distance; float32, row-major.
//
// Shapes: B batch, T queries, S keys, H heads, D head width.
struct RelativeAttentionInputs {
  int64_t batch;
  int64_t query_length;
  int64_t key_length;
  int64_t heads;
  int64_t width;
  bool causal;         // query t attends to keys s <= t + offset
  bool masked;         // only to keys of its own segment
  const float* query;  // [B, T, H, D]
  const float* key;    // [B, S, H, D]
  const float* value;  // [B, S, H, D]
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
struct RelativeAttentionForwardArgs {
  RelativeAttentionInputs inputs;
  float* output;       // [B, T, H, D]
  float* log_sum_exp;  // [B, H, T]; kMasked where no key may be attended
};

struct RelativeAttentionBackwardArgs {
  RelativeAttentionInputs inputs;
  const float* output;
  const float* log_sum_exp;
  const float* output_grad;  // [B, T, H, D]
  float* query_grad;         // as the inputs
  float* key_grad;
  float* value_grad;
  float* bias_grad;  // [B, H, T + S - 1], of each example; null without a bias
};

CLINOMETER_DECLARE_KERNEL(RelativeAttentionForward,
                          RelativeAttentionForwardArgs)
CLINOMETER_DECLARE_KERNEL(RelativeAttentionBackward,
                          RelativeAttentionBackwardArgs)

XLA_FFI_DECLARE_HANDLER_SYMBOL(RelativeAttentionForwardHandler);
XLA_FFI_DECLARE_HANDLER_SYMBOL(RelativeAttentionBackwardHandler);

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_H_
