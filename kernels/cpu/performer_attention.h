#ifndef CLINOMETER_KERNELS_CPU_PERFORMER_ATTENTION_H_
#define CLINOMETER_KERNELS_CPU_PERFORMER_ATTENTION_H_

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {

// Linear attention with the features phi(x) = max(x, 0) + epsilon; float32,
// row-major.
//
// Shapes: B batch, T queries, S keys, H heads, D head width.
struct PerformerAttentionInputs {
  int64_t batch;
  int64_t query_length;
  int64_t key_length;
  int64_t heads;
  int64_t width;
  bool causal;  // query t attends to keys s <= t; T is S
  float epsilon;
  const float* query;   // [B, T, H, D]
  const float* key;     // [B, S, H, D]
  const float* value;   // [B, S, H, D]
  const float* mask;    // [1 or B, S], a factor of phi(key); null for none
  int64_t mask_stride;  // between examples; 0 when shared
};

// A query with a denominator of 0 (no key left) gives 0.
struct PerformerAttentionForwardArgs {
  PerformerAttentionInputs inputs;
  float* output;       // [B, T, H, D]
  float* denominator;  // [B, H, T]
};

struct PerformerAttentionBackwardArgs {
  PerformerAttentionInputs inputs;
  const float* output;
  const float* denominator;
  const float* output_grad;  // [B, T, H, D]
  float* query_grad;         // as the inputs
  float* key_grad;
  float* value_grad;
};

CLINOMETER_DECLARE_KERNEL(PerformerAttentionForward,
                          PerformerAttentionForwardArgs)
CLINOMETER_DECLARE_KERNEL(PerformerAttentionBackward,
                          PerformerAttentionBackwardArgs)

XLA_FFI_DECLARE_HANDLER_SYMBOL(PerformerAttentionForwardHandler);
XLA_FFI_DECLARE_HANDLER_SYMBOL(PerformerAttentionBackwardHandler);

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_PERFORMER_ATTENTION_H_
