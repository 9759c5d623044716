// One example and head of relative attention: scores, and products over the
// keys that a query may attend to. Included only by isa_*.cc.

#ifndef CLINOMETER_KERNELS_CPU_ATTENTION_HEAD_INL_H_
#define CLINOMETER_KERNELS_CPU_ATTENTION_HEAD_INL_H_

#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/operands-inl.h"
#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

// The scores of a block fit into the L2 cache, a panel of keys into L1.
constexpr int64_t kQueryBlock =
    kStep == 32 ? 64 : 48;          // a multiple of kTileRows and of kStep
constexpr int64_t kKeyBlock = 192;  // a multiple of kTileColumns and of kStep
constexpr int64_t kScoresRow = kKeyBlock + kTileColumns;
// Query rows per task: enough to amortize packing the keys.
constexpr int64_t kTaskRows = 20 * kQueryBlock;
// The log-sum-exp of a query with no key to attend to; no other query has it.
constexpr float kMasked = -1e38f;

// The packed operands of one example and head.
struct AttentionHead {
  AttentionHead(const RelativeAttentionInputs& inputs, int64_t b, int64_t h)
      : in(inputs),
        row(inputs.heads * inputs.width),
        query(inputs.query +
              (b * inputs.query_length * inputs.heads + h) * inputs.width),
        key(inputs.key +
            (b * inputs.key_length * inputs.heads + h) * inputs.width),
        value(inputs.value +
              (b * inputs.key_length * inputs.heads + h) * inputs.width),
        offset(inputs.offset[b * inputs.offset_stride]),
        query_segments(inputs.query_segments +
                       b * inputs.query_segments_stride),
        bias_source(inputs.bias == nullptr
                        ? nullptr
                        : inputs.bias + b * inputs.bias_stride +
                              h * BiasSize(inputs)),
        segments_source(inputs.key_segments + b * inputs.key_segments_stride) {}

  static int64_t BiasSize(const RelativeAttentionInputs& in) {
    return in.query_length + in.key_length - 1;
  }

  // The number of floats that `Pack` takes from the carver.
  static int64_t Size(const RelativeAttentionInputs& in) {
    return Carver::Size(PackedSize(Steps(in.width), in.key_length)) +
           Carver::Size(BiasSize(in) + kTileColumns) +
           Carver::Size(in.key_length + kTileColumns);
  }

  void Pack(Carver* carver) {
    keys =
        RightColumns(key, row, in.width, in.key_length,
                     carver->Take(PackedSize(Steps(in.width), in.key_length)));
    // Copies are padded because whole vectors are read past their ends.
    float* padded_bias = carver->Take(BiasSize(in) + kTileColumns);
    if (bias_source != nullptr) {
      std::copy_n(bias_source, BiasSize(in), padded_bias);
      std::fill_n(padded_bias + BiasSize(in), kTileColumns, 0.0f);
      bias = padded_bias + in.query_length - 1;
    }
    auto* padded_segments =
        reinterpret_cast<int32_t*>(carver->Take(in.key_length + kTileColumns));
    // Nothing is masked if the example has only one segment.
    masked =
        in.masked &&
        !(std::all_of(segments_source, segments_source + in.key_length,
                      [this](int32_t x) { return x == query_segments[0]; }) &&
          std::all_of(query_segments, query_segments + in.query_length,
                      [this](int32_t x) { return x == query_segments[0]; }));
    if (masked) {
      std::copy_n(segments_source, in.key_length, padded_segments);
      std::fill_n(padded_segments + in.key_length, kTileColumns, 0);
      segments = padded_segments;
    }
  }

  // Returns whether query t may attend to key s.
  bool Sees(int64_t t, int64_t s) const {
    return s < KeyEnd(t) && (!masked || segments[s] == query_segments[t]);
  }

  bool SeesAny(int64_t t) const {
    int64_t s = 0;
    while (s < in.key_length && !Sees(t, s)) ++s;
    return s < in.key_length;
  }

  // Returns whether the products of a block read keys that a query of it may
  // not attend to.
  bool IsPartial() const {
    return masked || (in.causal && (kStep > 1 || in.query_length > 1));
  }

  // Query t may attend to keys before this one.
  int64_t KeyEnd(int64_t t) const {
    if (!in.causal) return in.key_length;
    return std::min(std::max<int64_t>(t + offset + 1, 0), in.key_length);
  }

  const RelativeAttentionInputs& in;
  const int64_t row;  // floats between positions
  const float* const query;
  const float* const key;
  const float* const value;
  const int64_t offset;
  const int32_t* const query_segments;
  const float* const bias_source;
  const int32_t* const segments_source;
  Panels keys{};
  const float* bias = nullptr;  // entry s - t
  bool masked = false;
  const int32_t* segments = nullptr;
};

// Returns whether all values are small enough that dot products of two rows of
// a head are finite; false for NaN.
CLINOMETER_INLINE bool AreModerate(const float* x, int64_t rows, int64_t step,
                                   int64_t width) {
  const Vec infinite_from_17_digits = Set(1e21f);
  Vec sum = Vec{};
  for (int64_t r = 0; r < rows; ++r, x += step) {
    int64_t d = 0;
    for (; d + kLanes <= width; d += kLanes) {
      sum += Load(x + d) * infinite_from_17_digits * 0.0f;
    }
    for (; d < width; ++d) sum += Set(x[d]) * infinite_from_17_digits * 0.0f;
  }
  return Sum(sum) == 0;
}

// C += A B, summed only over the allowed pairs of rows. The weights of other
// pairs are 0, but they would add 0 times NaN or infinity.
template <typename Allowed>
void ProductOfAllowed(int64_t m, int64_t n, int64_t k, Strided a,
                      const float* b, int64_t b_row, float* c, int64_t c_row,
                      Allowed allowed) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t p = 0; p < k; ++p) {
      if (!allowed(i, p)) continue;
      const float left = a.data[i * a.row + p * a.column];
      for (int64_t j = 0; j < n; ++j)
        c[i * c_row + j] += left * b[p * b_row + j];
    }
  }
}

// Computes the scores of queries [t, t + rows) and keys [s, s + columns),
// including the bias; minus infinity for masked keys and padding. `queries` has
// the block's, as a left operand.
CLINOMETER_INLINE void Scores(const AttentionHead& head, Strided queries,
                              int64_t t, int64_t rows, int64_t s,
                              int64_t columns, float* scores) {
  const Panels keys = {head.keys.data + s / kTileColumns * head.keys.panel,
                       head.keys.panel, head.keys.row};
  Product(rows, columns, Steps(head.in.width), queries, keys, scores,
          kScoresRow, false);
  const int64_t padded = RoundUp(columns, kLanes);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * kScoresRow;
    if (head.bias != nullptr) {
      const float* bias = head.bias + s - (t + r);
      for (int64_t j = 0; j < padded; j += kLanes) {
        Store(row + j, Load(row + j) + Load(bias + j));
      }
    }
    if (head.masked) {
      const IntVec segment = SetInt(head.query_segments[t + r]);
      for (int64_t j = 0; j < padded; j += kLanes) {
        Store(row + j, LoadInt(head.segments + s + j) == segment
                           ? Load(row + j)
                           : Set(-INFINITY));
      }
    }
    const int64_t end =
        std::min(std::max<int64_t>(head.KeyEnd(t + r) - s, 0), columns);
    for (int64_t j = end; j < padded; ++j) row[j] = -INFINITY;
  }
}

CLINOMETER_INLINE void MeanOfValues(const AttentionHead& head, float* mean) {
  const int64_t width = head.in.width;
  std::fill_n(mean, width, 0.0f);
  for (int64_t s = 0; s < head.in.key_length; ++s) {
    const float* value = head.value + s * head.row;
    for (int64_t d = 0; d < width; ++d) mean[d] += value[d];
  }
  const float scale = 1.0f / static_cast<float>(head.in.key_length);
  for (int64_t d = 0; d < width; ++d) mean[d] *= scale;
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_ATTENTION_HEAD_INL_H_
