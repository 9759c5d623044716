#ifndef CLINOMETER_KERNELS_CPU_RELATIVE_POSITION_BUCKET_H_
#define CLINOMETER_KERNELS_CPU_RELATIVE_POSITION_BUCKET_H_

#include "xla/ffi/api/ffi.h"

namespace clinometer {

// T5's bucket of each relative position (key position minus query position).
//
// Operand: int32 of any shape. Result: int32 of the same number of elements,
// each in [0, num_buckets). Works element by element, so leading axes that vmap
// adds change nothing. Attributes: `bidirectional` (bool), `num_buckets`
// (int32) and `max_distance` (int32); bad ones are an InvalidArgument error.
XLA_FFI_DECLARE_HANDLER_SYMBOL(RelativePositionBucket);

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_RELATIVE_POSITION_BUCKET_H_
