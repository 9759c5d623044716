#include "kernels/cpu/relative_position_bucket.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace clinometer {
namespace {

namespace ffi = ::xla::ffi;

// Smallest distance that has passed `steps` of the logarithmic buckets. The
// guard keeps distances at an exact power from falling a bucket short.
int64_t FirstDistance(int64_t steps, int64_t num_steps, int64_t max_exact,
                      int64_t max_distance) {
  constexpr double kGuard = 1e-9;
  const double log_range = std::log(static_cast<double>(max_distance) /
                                    static_cast<double>(max_exact));
  int64_t low = max_exact;
  int64_t high =
      max_distance;  // The last distance has always passed all steps.
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    const double ratio =
        static_cast<double>(middle) / static_cast<double>(max_exact);
    const double passed =
        std::log(ratio) / log_range * static_cast<double>(num_steps);
    if (passed + kGuard >= static_cast<double>(steps)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// First distances of the buckets 1, 2, ... of one direction, in ascending
// order.
std::vector<int64_t> BucketStarts(int64_t num_buckets, int64_t max_distance) {
  const int64_t max_exact = num_buckets / 2;
  const int64_t num_steps = num_buckets - max_exact;
  std::vector<int64_t> starts;
  starts.reserve(static_cast<size_t>(num_buckets - 1));
  for (int64_t bucket = 1; bucket < max_exact; ++bucket) {
    starts.push_back(bucket);
  }
  for (int64_t step = 0; step < num_steps; ++step) {
    starts.push_back(FirstDistance(step, num_steps, max_exact, max_distance));
  }
  return starts;
}

ffi::Error RelativePositionBucketImpl(ffi::Buffer<ffi::S32> relative_position,
                                      ffi::ResultBuffer<ffi::S32> bucket,
                                      bool bidirectional, int32_t num_buckets,
                                      int32_t max_distance) {
  if (bidirectional && num_buckets % 2 != 0) {
    return ffi::Error::InvalidArgument(
        "relative_position_bucket: bidirectional needs an even num_buckets; "
        "got " +
        std::to_string(num_buckets));
  }
  const int64_t one_sided = bidirectional ? num_buckets / 2 : num_buckets;
  constexpr int32_t kMaxBuckets = 1 << 16;
  if (one_sided < 2 || num_buckets > kMaxBuckets) {
    return ffi::Error::InvalidArgument(
        "relative_position_bucket: num_buckets must be 2 to 65536 (at least 4 "
        "when bidirectional); got " +
        std::to_string(num_buckets));
  }
  const int64_t max_exact = one_sided / 2;
  if (max_distance <= max_exact) {
    return ffi::Error::InvalidArgument(
        "relative_position_bucket: max_distance must exceed " +
        std::to_string(max_exact) +
        " (the distances with a bucket each); got " +
        std::to_string(max_distance));
  }
  const size_t count = relative_position.element_count();
  if (bucket->element_count() != count) {
    return ffi::Error::InvalidArgument(
        "relative_position_bucket: the result has " +
        std::to_string(bucket->element_count()) + " elements, the operand " +
        std::to_string(count));
  }

  const std::vector<int64_t> starts = BucketStarts(one_sided, max_distance);
  const int32_t* in = relative_position.typed_data();
  int32_t* out = bucket->typed_data();
  for (size_t i = 0; i < count; ++i) {
    const int64_t position =
        in[i];  // 64 bits, so that negation cannot overflow.
    int64_t offset = 0;
    int64_t distance = std::max<int64_t>(-position, 0);
    if (bidirectional && position > 0) {
      offset = one_sided;
      distance = position;
    }
    const auto passed =
        std::upper_bound(starts.begin(), starts.end(), distance);
    out[i] = static_cast<int32_t>(offset + (passed - starts.begin()));
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(RelativePositionBucket,
                              RelativePositionBucketImpl,
                              ffi::Ffi::Bind()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Ret<ffi::Buffer<ffi::S32>>()
                                  .Attr<bool>("bidirectional")
                                  .Attr<int32_t>("num_buckets")
                                  .Attr<int32_t>("max_distance"));

}  // namespace clinometer
