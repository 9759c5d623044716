// One example and head of Performer attention: the location of its rows, and
// how they are gathered. Included only by isa_*.cc.

#ifndef CLINOMETER_KERNELS_CPU_PERFORMER_HEAD_INL_H_
#define CLINOMETER_KERNELS_CPU_PERFORMER_HEAD_INL_H_

#include "kernels/cpu/linear_scan-inl.h"
#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

// Positions gathered at a time, a multiple of kScanBlock. Few, since rows that
// are a power of two apart evict each other from the L1 cache.
constexpr int64_t kScanChunk = 12;
// Positions gathered at a time for matrix products.
constexpr int64_t kProductChunk = 48;

// Returns 1 / x, or 0 for the denominator of a query without keys.
CLINOMETER_INLINE float Inverse(float x) { return x == 0 ? 0.0f : 1.0f / x; }

struct PerformerHead {
  PerformerHead(const PerformerAttentionInputs& inputs, int64_t b, int64_t h)
      : in(inputs),
        width(inputs.width),
        row(RoundUp(inputs.width, kLanes)),
        step(inputs.heads * inputs.width),
        query_start((b * inputs.query_length * inputs.heads + h) *
                    inputs.width),
        key_start((b * inputs.key_length * inputs.heads + h) * inputs.width),
        denominators((b * inputs.heads + h) * inputs.query_length),
        mask(inputs.mask == nullptr ? nullptr
                                    : inputs.mask + b * inputs.mask_stride) {}

  int64_t Query(int64_t t) const { return query_start + t * step; }
  int64_t Key(int64_t s) const { return key_start + s * step; }
  float Mask(int64_t s) const { return mask == nullptr ? 1.0f : mask[s]; }

  void QueryFeatures(int64_t t, float* out) const {
    Features(in.query + Query(t), width, in.epsilon, 1.0f, out);
  }
  void KeyFeatures(int64_t s, float* out) const {
    Features(in.key + Key(s), width, in.epsilon, Mask(s), out);
  }
  void Value(int64_t s, float* out) const {
    Gather(in.value + Key(s), width, 1.0f, out);
  }

  // The keys and values of a chunk from s on.
  Ahead KeyRows(int64_t s, int64_t chunk) const {
    Ahead ahead{std::min(chunk, in.key_length - s), step};
    if (ahead.rows > 0) ahead.Add(in.key + Key(s));
    if (ahead.rows > 0) ahead.Add(in.value + Key(s));
    return ahead;
  }

  // Pads rows with zeros to a whole block; returns the number of rows.
  int64_t Pad(int64_t rows, float* x) const {
    const int64_t padded = RoundUp(rows, kScanBlock);
    std::fill_n(x + rows * row, (padded - rows) * row, 0.0f);
    return padded;
  }

  const PerformerAttentionInputs& in;
  const int64_t width;
  const int64_t row;   // floats of a gathered row
  const int64_t step;  // floats between positions of the inputs
  const int64_t query_start;
  const int64_t key_start;
  const int64_t denominators;
  const float* const mask;
};

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_PERFORMER_HEAD_INL_H_
