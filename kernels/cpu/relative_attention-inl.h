// Relative attention by blocks of queries and keys: scores never leave the
// caches, and the bias is one vector a head, read at a shifted place for each
// query.

#ifndef CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_INL_H_
#define CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_INL_H_

#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

// A block's scores stay in the second-level cache, a panel of keys in the
// first.
constexpr int64_t kQueryBlock = 48;  // a multiple of kTileRows
constexpr int64_t kKeyBlock = 192;   // a multiple of kTileColumns
constexpr int64_t kScoresRow = kKeyBlock + kTileColumns;
// Query rows of one task: enough to make packing the keys cheap.
constexpr int64_t kTaskRows = 20 * kQueryBlock;
constexpr float kMasked = -1e9f;  // as T5 masks
constexpr float kOutside = -3e38f;

// What the blocks of one example and head read, packed.
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

  // Floats that `Pack` takes from the carver.
  static int64_t Size(const RelativeAttentionInputs& in) {
    return Carver::Size(PackedSize(in.width, in.key_length)) +
           Carver::Size(BiasSize(in) + kTileColumns) +
           Carver::Size(in.key_length + kTileColumns);
  }

  void Pack(Carver* carver) {
    keys = PackColumns(key, row, in.width, in.key_length,
                       carver->Take(PackedSize(in.width, in.key_length)));
    // Padded copies: whole vectors are read past their ends.
    float* padded_bias = carver->Take(BiasSize(in) + kTileColumns);
    if (bias_source != nullptr) {
      std::copy_n(bias_source, BiasSize(in), padded_bias);
      std::fill_n(padded_bias + BiasSize(in), kTileColumns, 0.0f);
      bias = padded_bias + in.query_length - 1;
    }
    auto* padded_segments =
        reinterpret_cast<int32_t*>(carver->Take(in.key_length + kTileColumns));
    // Nothing to mask if the example has one segment only.
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

  // Keys before this one may be attended by query t.
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

// Scores of queries [t, t + rows) and keys [s, s + columns): biased, masked,
// and kOutside where causality forbids or a vector is padded.
CLINOMETER_INLINE void Scores(const AttentionHead& head, int64_t t,
                              int64_t rows, int64_t s, int64_t columns,
                              float* scores) {
  const Panels keys = {head.keys.data + s / kTileColumns * head.keys.panel,
                       head.keys.panel, head.keys.row};
  Matmul(rows, columns, head.in.width, {head.query + t * head.row, head.row, 1},
         keys, scores, kScoresRow, false);
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
                           : Set(kMasked));
      }
    }
    const int64_t end =
        std::min(std::max<int64_t>(head.KeyEnd(t + r) - s, 0), columns);
    for (int64_t j = end; j < padded; ++j) row[j] = kOutside;
  }
}

// Whether a log-sum-exp or maximum says that no key could be attended.
CLINOMETER_INLINE bool NothingAttended(float value) {
  return value <= 0.5f * kMasked;
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

// Turns a row of scores into exponentials against the running maximum, and
// rescales what was summed before.
CLINOMETER_INLINE void OnlineSoftmax(float* row, int64_t padded, float* sums,
                                     int64_t sums_padded, float* most,
                                     float* total) {
  Vec block_most = Load(row);
  for (int64_t j = kLanes; j < padded; j += kLanes) {
    block_most = Max(block_most, Load(row + j));
  }
  const float next = std::max(*most, MaxLane(block_most));
  const Vec shift = Set(next);
  Vec block_total = Vec{};
  for (int64_t j = 0; j < padded; j += kLanes) {
    const Vec weight = Exp(Load(row + j) - shift);
    Store(row + j, weight);
    block_total += weight;
  }
  if (next != *most) {
    const Vec scale = Exp(Set(*most - next));
    for (int64_t d = 0; d < sums_padded; d += kLanes) {
      Store(sums + d, Load(sums + d) * scale);
    }
    *total *= scale[0];
    *most = next;
  }
  *total += Sum(block_total);
}

CLINOMETER_INLINE void ForwardTask(const RelativeAttentionForwardArgs& args,
                                   int64_t b, int64_t h, int64_t begin,
                                   int64_t end) {
  const RelativeAttentionInputs& in = args.inputs;
  const int64_t width = in.width;
  const int64_t padded_width = RoundUp(width, kLanes);
  Carver carver(ThreadScratch(AttentionHead::Size(in) +
                              Carver::Size(PackedSize(in.key_length, width)) +
                              Carver::Size(kQueryBlock * kScoresRow) +
                              Carver::Size(kQueryBlock * padded_width) +
                              2 * Carver::Size(kQueryBlock)));
  AttentionHead head(in, b, h);
  head.Pack(&carver);
  const Panels values = PackRows(head.value, head.row, in.key_length, width,
                                 carver.Take(PackedSize(in.key_length, width)));
  float* scores = carver.Take(kQueryBlock * kScoresRow);
  float* sums = carver.Take(kQueryBlock * padded_width);
  float* most = carver.Take(kQueryBlock);
  float* total = carver.Take(kQueryBlock);

  for (int64_t t = begin; t < end; t += kQueryBlock) {
    const int64_t rows = std::min(kQueryBlock, end - t);
    std::fill_n(sums, rows * padded_width, 0.0f);
    std::fill_n(most, rows, kMasked);
    std::fill_n(total, rows, 0.0f);
    const int64_t key_end = head.KeyEnd(t + rows - 1);
    for (int64_t s = 0; s < key_end; s += kKeyBlock) {
      const int64_t columns = std::min(kKeyBlock, key_end - s);
      Scores(head, t, rows, s, columns, scores);
      for (int64_t r = 0; r < rows; ++r) {
        OnlineSoftmax(scores + r * kScoresRow, RoundUp(columns, kLanes),
                      sums + r * padded_width, padded_width, most + r,
                      total + r);
      }
      Matmul(rows, width, columns, {scores, kScoresRow, 1}, values.From(s),
             sums, padded_width, true);
    }
    float* lse = args.log_sum_exp + (b * in.heads + h) * in.query_length + t;
    for (int64_t r = 0; r < rows; ++r) {
      float* out =
          args.output + ((b * in.query_length + t + r) * in.heads + h) * width;
      // Scores that are not numbers leave the maximum alone, but not the total.
      if (NothingAttended(most[r]) && !std::isnan(total[r])) {
        MeanOfValues(head, out);
        lse[r] = kMasked;
        continue;
      }
      const float scale = 1.0f / total[r];
      const float* sum = sums + r * padded_width;
      for (int64_t d = 0; d < width; ++d) out[d] = sum[d] * scale;
      lse[r] = most[r] + std::log(total[r]);
    }
  }
}

// Weights and gradients of the scores of one block, in place of scores and
// weighted.
CLINOMETER_INLINE void ScoreGradients(const AttentionHead& head, int64_t t,
                                      int64_t rows, int64_t columns,
                                      const float* lse, const float* delta,
                                      float* scores, float* weighted) {
  const int64_t padded = RoundUp(columns, kLanes);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * kScoresRow;
    float* gradient = weighted + r * kScoresRow;
    if (NothingAttended(lse[t + r])) {
      std::fill_n(row, padded, 0.0f);
      std::fill_n(gradient, padded, 0.0f);
      continue;
    }
    const Vec shift = Set(lse[t + r]);
    const Vec mean = Set(delta[t + r]);
    for (int64_t j = 0; j < padded; j += kLanes) {
      const Vec weight = Exp(Load(row + j) - shift);
      Store(row + j, weight);
      Store(gradient + j, weight * (Load(gradient + j) - mean));
    }
  }
}

CLINOMETER_INLINE void BackwardTask(const RelativeAttentionBackwardArgs& args,
                                    int64_t b, int64_t h) {
  const RelativeAttentionInputs& in = args.inputs;
  const int64_t queries = in.query_length, keys = in.key_length;
  const int64_t width = in.width, padded_width = RoundUp(width, kLanes);
  const int64_t bias_size = AttentionHead::BiasSize(in);
  Carver carver(ThreadScratch(
      AttentionHead::Size(in) + Carver::Size(PackedSize(width, keys)) +
      Carver::Size(PackedSize(keys, width)) +
      2 * Carver::Size(PackedSize(queries, width)) +
      2 * Carver::Size(kQueryBlock * kScoresRow) +
      Carver::Size(queries * padded_width) +
      2 * Carver::Size(kKeyBlock * padded_width) + Carver::Size(queries) +
      Carver::Size(bias_size + kTileColumns)));
  AttentionHead head(in, b, h);
  head.Pack(&carver);
  const int64_t query_start = (b * queries * in.heads + h) * width;
  const float* output = args.output + query_start;
  const float* output_grad = args.output_grad + query_start;
  const Panels values = PackColumns(head.value, head.row, width, keys,
                                    carver.Take(PackedSize(width, keys)));
  const Panels key_rows = PackRows(head.key, head.row, keys, width,
                                   carver.Take(PackedSize(keys, width)));
  const Panels query_rows = PackRows(head.query, head.row, queries, width,
                                     carver.Take(PackedSize(queries, width)));
  const Panels grad_rows = PackRows(output_grad, head.row, queries, width,
                                    carver.Take(PackedSize(queries, width)));
  float* scores = carver.Take(kQueryBlock * kScoresRow);
  float* weighted = carver.Take(kQueryBlock * kScoresRow);
  float* query_grad = carver.Take(queries * padded_width);
  float* key_grad = carver.Take(kKeyBlock * padded_width);
  float* value_grad = carver.Take(kKeyBlock * padded_width);
  float* delta = carver.Take(queries);
  float* bias_grad = carver.Take(bias_size + kTileColumns);
  const float* lse = args.log_sum_exp + (b * in.heads + h) * queries;

  std::fill_n(query_grad, queries * padded_width, 0.0f);
  std::fill_n(bias_grad, bias_size + kTileColumns, 0.0f);
  for (int64_t t = 0; t < queries; ++t) {
    delta[t] = Dot(output + t * head.row, output_grad + t * head.row, width);
  }

  for (int64_t s = 0; s < keys; s += kKeyBlock) {
    const int64_t block = std::min(kKeyBlock, keys - s);
    std::fill_n(key_grad, block * padded_width, 0.0f);
    std::fill_n(value_grad, block * padded_width, 0.0f);
    for (int64_t t = 0; t < queries; t += kQueryBlock) {
      const int64_t rows = std::min(kQueryBlock, queries - t);
      const int64_t columns = std::min(block, head.KeyEnd(t + rows - 1) - s);
      if (columns <= 0) continue;
      Scores(head, t, rows, s, columns, scores);
      Matmul(rows, columns, width, {output_grad + t * head.row, head.row, 1},
             {values.data + s / kTileColumns * values.panel, values.panel,
              values.row},
             weighted, kScoresRow, false);
      ScoreGradients(head, t, rows, columns, lse, delta, scores, weighted);
      Matmul(columns, width, rows, {scores, 1, kScoresRow}, grad_rows.From(t),
             value_grad, padded_width, true);
      Matmul(columns, width, rows, {weighted, 1, kScoresRow},
             query_rows.From(t), key_grad, padded_width, true);
      Matmul(rows, width, columns, {weighted, kScoresRow, 1}, key_rows.From(s),
             query_grad + t * padded_width, padded_width, true);
      if (head.bias == nullptr) continue;
      for (int64_t r = 0; r < rows; ++r) {
        const float* gradient = weighted + r * kScoresRow;
        float* diagonal = bias_grad + queries - 1 + s - (t + r);
        for (int64_t j = 0; j < columns; j += kLanes) {
          Store(diagonal + j, Load(diagonal + j) + Load(gradient + j));
        }
      }
    }
    const int64_t key_start = ((b * keys + s) * in.heads + h) * width;
    for (int64_t j = 0; j < block; ++j) {
      std::copy_n(key_grad + j * padded_width, width,
                  args.key_grad + key_start + j * head.row);
      std::copy_n(value_grad + j * padded_width, width,
                  args.value_grad + key_start + j * head.row);
    }
  }

  for (int64_t t = 0; t < queries; ++t) {
    std::copy_n(query_grad + t * padded_width, width,
                args.query_grad + query_start + t * head.row);
    if (!NothingAttended(lse[t])) continue;
    // Such a query took the mean of all values.
    const float share = 1.0f / static_cast<float>(keys);
    for (int64_t s = 0; s < keys; ++s) {
      float* gradient =
          args.value_grad + ((b * keys + s) * in.heads + h) * width;
      for (int64_t d = 0; d < width; ++d) {
        gradient[d] += share * output_grad[t * head.row + d];
      }
    }
  }
  if (args.bias_grad != nullptr) {
    std::copy_n(bias_grad, bias_size,
                args.bias_grad + (b * in.heads + h) * bias_size);
  }
}

void RelativeAttentionForward(const RelativeAttentionForwardArgs& args,
                              const Pool& pool) {
  const RelativeAttentionInputs& in = args.inputs;
  const int64_t parts = (in.query_length + kTaskRows - 1) / kTaskRows;
  pool.For(in.batch * in.heads * parts, [&args, &in, parts](int64_t i) {
    const int64_t begin = i % parts * kTaskRows;
    ForwardTask(args, i / parts / in.heads, i / parts % in.heads, begin,
                std::min(begin + kTaskRows, in.query_length));
  });
}

void RelativeAttentionBackward(const RelativeAttentionBackwardArgs& args,
                               const Pool& pool) {
  const RelativeAttentionInputs& in = args.inputs;
  pool.For(in.batch * in.heads, [&args, &in](int64_t i) {
    BackwardTask(args, i / in.heads, i % in.heads);
  });
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_INL_H_
