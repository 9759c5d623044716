#ifndef CLINOMETER_KERNELS_CPU_BUFFERS_H_
#define CLINOMETER_KERNELS_CPU_BUFFERS_H_

#include "xla/ffi/api/ffi.h"

namespace clinometer {

// Operands and results of handlers: arrays of known rank.
template <int rank>
using Floats = ::xla::ffi::Buffer<::xla::ffi::F32, rank>;
template <int rank>
using Ints = ::xla::ffi::Buffer<::xla::ffi::S32, rank>;
template <int rank>
using Bools = ::xla::ffi::Buffer<::xla::ffi::PRED, rank>;

template <int rank>
using FloatResult = ::xla::ffi::Result<Floats<rank>>;
template <int rank>
using IntResult = ::xla::ffi::Result<Ints<rank>>;

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_BUFFERS_H_
