#ifndef CLINOMETER_KERNELS_CPU_SWITCH_ROWS_H_
#define CLINOMETER_KERNELS_CPU_SWITCH_ROWS_H_

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {

// Rows that move between tokens and the slots of experts; float32, row-major.
//
// Shapes: G groups, N tokens per group, S slots per group (experts times
// capacity), d row width. A token whose slot is not in [0, S) has none.
struct SwitchRowsShape {
  int64_t groups;
  int64_t tokens;
  int64_t slots;
  int64_t width;
  const int32_t* slot;  // [G, N]; unique within a group
};

// Slot rows are their tokens' rows times the gate; rows of empty slots are
// zero.
struct SwitchDispatchArgs {
  SwitchRowsShape shape;
  const float* token_rows;  // [G, N, d]
  const float* gate;        // [G, N]; null for 1
  float* slot_rows;         // [G, S, d]
  // If `combined` [G, S, d] is not null, also computes `gate_grad`: the dot
  // product of each token's row with its slot's row in `combined`, 0 without a
  // slot. These are the gradients of combine's gates.
  const float* combined;
  float* gate_grad;  // [G, N]
  int32_t* token;    // working memory, [G, S]
};

// Token rows are their slots' rows times the gate; exactly zero without a slot.
struct SwitchCombineArgs {
  SwitchRowsShape shape;
  const float* slot_rows;  // [G, S, d]
  const float* gate;       // [1 or G, N]
  int64_t gate_stride;     // between groups; 0 when shared
  float* token_rows;       // [G, N, d]
};

CLINOMETER_DECLARE_KERNEL(SwitchDispatch, SwitchDispatchArgs)
CLINOMETER_DECLARE_KERNEL(SwitchCombine, SwitchCombineArgs)

XLA_FFI_DECLARE_HANDLER_SYMBOL(SwitchDispatchHandler);
XLA_FFI_DECLARE_HANDLER_SYMBOL(SwitchCombineHandler);
XLA_FFI_DECLARE_HANDLER_SYMBOL(SwitchCombineBackwardHandler);

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_SWITCH_ROWS_H_
