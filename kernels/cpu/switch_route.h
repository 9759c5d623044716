#ifndef CLINOMETER_KERNELS_CPU_SWITCH_ROUTE_H_
#define CLINOMETER_KERNELS_CPU_SWITCH_ROUTE_H_

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {

// Tokens per task: fixed, so that sums do not depend on the number of threads.
constexpr int64_t kRouteBlock = 512;

// Top-1 routing with capacity; float32, row-major.
//
// Shapes: G groups, N tokens per group, E experts.
struct SwitchRouteInputs {
  int64_t groups;
  int64_t tokens;
  int64_t experts;
  const float* logits;  // [G, N, E]
  const bool* mask;     // [1 or G, N], false for padding, which is not routed
  int64_t mask_stride;  // between groups; 0 when shared

  // The number of tasks per group.
  int64_t Blocks() const { return (tokens + kRouteBlock - 1) / kRouteBlock; }
  // The number of floats of a task's sums: the probabilities, padded to whole
  // vectors of any instruction set, and the squared log-sum-exp.
  int64_t SumsSize() const { return (experts + 15) / 16 * 16 + 16; }
};

struct SwitchRouteForwardArgs {
  SwitchRouteInputs inputs;
  int64_t capacity;
  int32_t* expert_index;  // [G, N]
  int32_t* slot;          // [G, N]; expert * capacity + position, or -1
  float* gate;            // [G, N]; 0 for padding
  int32_t* counts;        // [G, E], slots filled
  float* load;            // [G, E], fraction of tokens before dropping
  float* probability;     // [G, E], mean over tokens
  float* z;               // [G], mean of the squared log-sum-exp
  float* sums;            // working memory, [G, Blocks(), SumsSize()]
};

struct SwitchRouteBackwardArgs {
  SwitchRouteInputs inputs;
  const int32_t* expert_index;
  const float* gate;
  const float* gate_grad;         // [G, N]
  const float* probability_grad;  // [G, E]
  const float* z_grad;            // [G]
  float* logits_grad;             // [G, N, E]
};

CLINOMETER_DECLARE_KERNEL(SwitchRouteForward, SwitchRouteForwardArgs)
CLINOMETER_DECLARE_KERNEL(SwitchRouteBackward, SwitchRouteBackwardArgs)

XLA_FFI_DECLARE_HANDLER_SYMBOL(SwitchRouteForwardHandler);
XLA_FFI_DECLARE_HANDLER_SYMBOL(SwitchRouteBackwardHandler);

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_SWITCH_ROUTE_H_
