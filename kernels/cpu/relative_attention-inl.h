// Relative attention in blocks of queries and keys. Scores never leave the
// caches, and the bias is one vector per head, read at a different offset for
// each query.

#ifndef CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_INL_H_
#define CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_INL_H_

#include "kernels/cpu/attention_head-inl.h"
#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/operands-inl.h"
#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

// Replaces a row of scores by their exponentials relative to the running
// maximum, and rescales the earlier sums.
CLINOMETER_INLINE void OnlineSoftmax(float* row, int64_t padded, float* sums,
                                     int64_t sums_padded, float* most,
                                     float* total) {
  Vec block_most = Load(row);
  for (int64_t j = kLanes; j < padded; j += kLanes) {
    block_most = Max(block_most, Load(row + j));
  }
  const float next = std::max(*most, MaxLane(block_most));
  const Vec shift = Set(next == -INFINITY ? 0.0f : next);  // No key so far.
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
  const int64_t key_steps = Steps(in.key_length);
  const ProductRegisters registers;
  Carver carver(ThreadScratch(AttentionHead::Size(in) +
                              Carver::Size(LeftSize(end - begin, width)) +
                              Carver::Size(PackedSize(key_steps, width)) +
                              Carver::Size(LeftSize(kQueryBlock, kKeyBlock)) +
                              Carver::Size(kQueryBlock * kScoresRow) +
                              Carver::Size(kQueryBlock * padded_width) +
                              2 * Carver::Size(kQueryBlock)));
  AttentionHead head(in, b, h);
  head.Pack(&carver);
  const Strided queries =
      LeftRows(head.query + begin * head.row, head.row, end - begin, width,
               carver.Take(LeftSize(end - begin, width)));
  const Panels values = RightRows(head.value, head.row, in.key_length, width,
                                  carver.Take(PackedSize(key_steps, width)));
  float* packed_weights = carver.Take(LeftSize(kQueryBlock, kKeyBlock));
  float* scores = carver.Take(kQueryBlock * kScoresRow);
  float* sums = carver.Take(kQueryBlock * padded_width);
  float* most = carver.Take(kQueryBlock);
  float* total = carver.Take(kQueryBlock);
  const bool moderate = !head.IsPartial() ||
                        AreModerate(head.value, in.key_length, head.row, width);

  for (int64_t t = begin; t < end; t += kQueryBlock) {
    const int64_t rows = std::min(kQueryBlock, end - t);
    std::fill_n(sums, rows * padded_width, 0.0f);
    std::fill_n(most, rows, -INFINITY);
    std::fill_n(total, rows, 0.0f);
    const int64_t key_end = head.KeyEnd(t + rows - 1);
    for (int64_t s = 0; s < key_end; s += kKeyBlock) {
      const int64_t columns = std::min(kKeyBlock, key_end - s);
      Scores(head, queries.From(t - begin), t, rows, s, columns, scores);
      for (int64_t r = 0; r < rows; ++r) {
        OnlineSoftmax(scores + r * kScoresRow, RoundUp(columns, kLanes),
                      sums + r * padded_width, padded_width, most + r,
                      total + r);
      }
      if (moderate) {
        Product(rows, width, Steps(columns),
                LeftRows(scores, kScoresRow, rows, columns, packed_weights),
                values.From(Steps(s)), sums, padded_width, true);
      } else {
        ProductOfAllowed(
            rows, width, columns, {scores, kScoresRow, 1},
            head.value + s * head.row, head.row, sums, padded_width,
            [&](int64_t r, int64_t j) { return head.Sees(t + r, s + j); });
      }
    }
    float* lse = args.log_sum_exp + (b * in.heads + h) * in.query_length + t;
    for (int64_t r = 0; r < rows; ++r) {
      float* out =
          args.output + ((b * in.query_length + t + r) * in.heads + h) * width;
      if (total[r] == 0) {
        if (!head.SeesAny(t + r)) {
          MeanOfValues(head, out);
          lse[r] = kMasked;
          continue;
        }
        total[r] = NAN;  // All scores are minus infinity.
      }
      const float scale = 1.0f / total[r];
      const float* sum = sums + r * padded_width;
      for (int64_t d = 0; d < width; ++d) out[d] = sum[d] * scale;
      lse[r] = most[r] + std::log(total[r]);
    }
  }
}

// Computes a block's weights and score gradients, in place of `scores` and
// `weighted`. Those of masked keys and padding may be NaN unless all values are
// moderate.
CLINOMETER_INLINE void ScoreGradients(const AttentionHead& head, int64_t t,
                                      int64_t rows, int64_t columns,
                                      const float* lse, const float* delta,
                                      float* scores, float* weighted) {
  const int64_t padded = RoundUp(columns, kLanes);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * kScoresRow;
    float* gradient = weighted + r * kScoresRow;
    if (lse[t + r] == kMasked) {
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

// Sets the results of `ScoreGradients` for masked keys and padding to 0.
CLINOMETER_INLINE void ClearMasked(const AttentionHead& head, int64_t t,
                                   int64_t rows, int64_t s, int64_t columns,
                                   float* weights, float* gradients) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < RoundUp(columns, kLanes); ++j) {
      if (j < columns && head.Sees(t + r, s + j)) continue;
      weights[r * kScoresRow + j] = gradients[r * kScoresRow + j] = 0;
    }
  }
}

CLINOMETER_INLINE void BackwardTask(const RelativeAttentionBackwardArgs& args,
                                    int64_t b, int64_t h) {
  const RelativeAttentionInputs& in = args.inputs;
  const int64_t queries = in.query_length, keys = in.key_length;
  const int64_t width = in.width, padded_width = RoundUp(width, kLanes);
  const int64_t bias_size = AttentionHead::BiasSize(in);
  const int64_t steps = Steps(width),
                packed_size = std::max(LeftSize(kKeyBlock, kQueryBlock),
                                       LeftSize(kQueryBlock, kKeyBlock));
  const ProductRegisters registers;
  Carver carver(ThreadScratch(
      AttentionHead::Size(in) + Carver::Size(PackedSize(steps, keys)) +
      Carver::Size(PackedSize(Steps(keys), width)) +
      2 * Carver::Size(PackedSize(Steps(queries), width)) +
      2 * Carver::Size(LeftSize(queries, width)) + Carver::Size(packed_size) +
      2 * Carver::Size(kQueryBlock * kScoresRow) +
      Carver::Size(RoundUp(queries, kLanes) * padded_width) +
      2 * Carver::Size(kKeyBlock * padded_width) + Carver::Size(queries) +
      Carver::Size(bias_size + kTileColumns)));
  AttentionHead head(in, b, h);
  head.Pack(&carver);
  const int64_t query_start = (b * queries * in.heads + h) * width;
  const float* output = args.output + query_start;
  const float* output_grad = args.output_grad + query_start;
  const Strided left_queries = LeftRows(head.query, head.row, queries, width,
                                        carver.Take(LeftSize(queries, width)));
  const Strided left_grads = LeftRows(output_grad, head.row, queries, width,
                                      carver.Take(LeftSize(queries, width)));
  const Panels values = RightColumns(head.value, head.row, width, keys,
                                     carver.Take(PackedSize(steps, keys)));
  const Panels key_rows =
      RightRows(head.key, head.row, keys, width,
                carver.Take(PackedSize(Steps(keys), width)));
  const Panels query_rows =
      RightRows(head.query, head.row, queries, width,
                carver.Take(PackedSize(Steps(queries), width)));
  const Panels grad_rows =
      RightRows(output_grad, head.row, queries, width,
                carver.Take(PackedSize(Steps(queries), width)));
  float* packed = carver.Take(packed_size);
  float* scores = carver.Take(kQueryBlock * kScoresRow);
  float* weighted = carver.Take(kQueryBlock * kScoresRow);
  float* query_grad = carver.Take(RoundUp(queries, kLanes) * padded_width);
  float* key_grad = carver.Take(kKeyBlock * padded_width);
  float* value_grad = carver.Take(kKeyBlock * padded_width);
  float* delta = carver.Take(queries);
  float* bias_grad = carver.Take(bias_size + kTileColumns);
  const float* lse = args.log_sum_exp + (b * in.heads + h) * queries;

  const bool moderate =
      AreModerate(head.query, queries, head.row, width) &&
      AreModerate(head.key, keys, head.row, width) &&
      AreModerate(head.value, keys, head.row, width) &&
      AreModerate(output, queries, head.row, width) &&
      AreModerate(output_grad, queries, head.row, width) &&
      (head.bias == nullptr ||
       AreModerate(head.bias_source, 1, bias_size, bias_size));

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
      Scores(head, left_queries.From(t), t, rows, s, columns, scores);
      Product(rows, columns, steps, left_grads.From(t),
              {values.data + s / kTileColumns * values.panel, values.panel,
               values.row},
              weighted, kScoresRow, false);
      ScoreGradients(head, t, rows, columns, lse, delta, scores, weighted);
      float* query_rows_grad = query_grad + t * padded_width;
      if (moderate) {
        Product(columns, width, Steps(rows),
                LeftColumns(scores, kScoresRow, columns, rows, packed),
                grad_rows.From(Steps(t)), value_grad, padded_width, true);
        Product(columns, width, Steps(rows),
                LeftColumns(weighted, kScoresRow, columns, rows, packed),
                query_rows.From(Steps(t)), key_grad, padded_width, true);
        Product(rows, width, Steps(columns),
                LeftRows(weighted, kScoresRow, rows, columns, packed),
                key_rows.From(Steps(s)), query_rows_grad, padded_width, true);
      } else {
        const auto sees = [&](int64_t r, int64_t j) {
          return head.Sees(t + r, s + j);
        };
        const auto seen = [&](int64_t j, int64_t r) { return sees(r, j); };
        ClearMasked(head, t, rows, s, columns, scores, weighted);
        ProductOfAllowed(columns, width, rows, {scores, 1, kScoresRow},
                         output_grad + t * head.row, head.row, value_grad,
                         padded_width, seen);
        ProductOfAllowed(columns, width, rows, {weighted, 1, kScoresRow},
                         head.query + t * head.row, head.row, key_grad,
                         padded_width, seen);
        ProductOfAllowed(rows, width, columns, {weighted, kScoresRow, 1},
                         head.key + s * head.row, head.row, query_rows_grad,
                         padded_width, sees);
      }
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
    if (lse[t] != kMasked) continue;
    // The output of such a query was the mean of all values.
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

#ifndef CLINOMETER_BFLOAT16

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

#endif  // CLINOMETER_BFLOAT16

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_INL_H_
