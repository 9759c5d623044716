// Performer attention position by position: the state of one head stays in the
// caches, each part of it is read and written once for a few positions.
//
// Every causal product of both passes has one form,
//
//   out_i = sum over j <= i of (a_i . b_j) c_j,
//
// with (a, b, c) = (phi(q), phi(k), v) for the output; and, with g the output's
// gradient over the denominator, (g, v, phi(k)) for phi(q)'s gradient and, from
// the last position to the first, (v, g, phi(q)) for phi(k)'s and (phi(k),
// phi(q), g) for v's. Where all queries see all keys, the sum is over all j:
// products of matrices.

#ifndef CLINOMETER_KERNELS_CPU_PERFORMER_ATTENTION_INL_H_
#define CLINOMETER_KERNELS_CPU_PERFORMER_ATTENTION_INL_H_

#include "kernels/cpu/linear_scan-inl.h"
#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

// Positions gathered at once, a multiple of kScanBlock: few, since rows that
// lie a power of two apart push each other out of the first-level cache.
constexpr int64_t kScanChunk = 12;
// Positions gathered at once for products of matrices.
constexpr int64_t kProductChunk = 48;

// 1 / x; 0 for the denominator of a query without a key.
CLINOMETER_INLINE float Inverse(float x) { return x == 0 ? 0.0f : 1.0f / x; }

// One example and head: where its rows lie, and how they are gathered.
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

  // Fills rows up to a whole block with zeros; returns their number.
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

// Writes a query's denominator, and its inverse to `inverse`.
CLINOMETER_INLINE void Denominator(const PerformerAttentionForwardArgs& args,
                                   const PerformerHead& head, int64_t t,
                                   const float* features, const float* total,
                                   float* inverse) {
  const float denominator = Dot(features, total, head.row);
  args.denominator[head.denominators + t] = denominator;
  *inverse = Inverse(denominator);
}

CLINOMETER_INLINE void PerformerForwardTask(
    const PerformerAttentionForwardArgs& args, int64_t b, int64_t h) {
  const PerformerAttentionInputs& in = args.inputs;
  const PerformerHead head(in, b, h);
  const int64_t width = head.width, row = head.row;
  const int64_t chunk = in.causal ? kScanChunk : kProductChunk;
  Carver carver(ThreadScratch(Carver::Size(width * row) + Carver::Size(row) +
                              4 * Carver::Size(chunk * row) +
                              Carver::Size(chunk)));
  float* state = carver.Take(width * row);  // sum of phi(k) v^T
  float* total = carver.Take(row);          // sum of phi(k)
  float* queries = carver.Take(chunk * row);
  float* keys = carver.Take(chunk * row);
  float* values = carver.Take(chunk * row);
  float* out = carver.Take(chunk * row);
  float* inverse = carver.Take(chunk);
  std::fill_n(state, width * row, 0.0f);
  std::fill_n(total, row, 0.0f);

  for (int64_t s = 0; !in.causal && s < in.key_length; s += chunk) {
    const int64_t rows = std::min(chunk, in.key_length - s);
    for (int64_t i = 0; i < rows; ++i) {
      head.KeyFeatures(s + i, keys + i * row);
      head.Value(s + i, values + i * row);
      AddScaled(keys + i * row, row, 1.0f, total);
    }
    const Ahead ahead = head.KeyRows(s + rows, chunk);
    AddOuter(rows, width, row, keys, values, state, ahead);
  }
  for (int64_t t = 0; t < in.query_length; t += chunk) {
    const int64_t rows = std::min(chunk, in.query_length - t);
    for (int64_t i = 0; i < rows; ++i) {
      if (in.causal) {
        head.KeyFeatures(t + i, keys + i * row);
        head.Value(t + i, values + i * row);
        AddScaled(keys + i * row, row, 1.0f, total);
      }
      head.QueryFeatures(t + i, queries + i * row);
      Denominator(args, head, t + i, queries + i * row, total, inverse + i);
    }
    if (in.causal) {
      Ahead ahead = head.KeyRows(t + rows, chunk);
      ahead.Add(in.query + head.Query(t + rows));
      head.Pad(rows, keys);
      const int64_t padded = head.Pad(rows, values);
      std::fill_n(out, padded * row, 0.0f);
      Scan(padded, width, row, {queries, keys, values, state, out}, ahead);
    } else {
      Ahead ahead{std::min(chunk, in.query_length - t - rows), head.step};
      ahead.Add(in.query + head.Query(t + rows));
      ReadState(rows, width, row, queries, state, out, false, ahead);
    }
    for (int64_t i = 0; i < rows; ++i) {
      StoreScaled(out + i * row, width, inverse[i],
                  args.output + head.Query(t + i));
    }
  }
}

// What both parts of a head's backward pass share.
struct PerformerBackward {
  PerformerBackward(const PerformerAttentionBackwardArgs& args, int64_t b,
                    int64_t h)
      : args(args),
        in(args.inputs),
        head(args.inputs, b, h),
        chunk(in.causal ? kScanChunk : kProductChunk) {}

  float Scale(int64_t t) const {
    return Inverse(args.denominator[head.denominators + t]);
  }

  // Gathers g of query t.
  void Gradient(int64_t t, float* out) const {
    Gather(args.output_grad + head.Query(t), head.width, Scale(t), out);
  }

  // The gradient by the denominator of query t.
  float TotalGradient(int64_t t) const {
    const int64_t start = head.Query(t);
    return -Scale(t) *
           Dot(args.output_grad + start, args.output + start, head.width);
  }

  // What the gradient by the queries reads, from query t on.
  void AddQueryRows(int64_t t, Ahead* ahead) const {
    ahead->Add(in.query + head.Query(t));
    ahead->Add(args.output + head.Query(t));
    ahead->Add(args.output_grad + head.Query(t));
  }

  void StoreQuery(int64_t t, const float* gradient) const {
    StoreGated(in.query + head.Query(t), gradient, head.width, 1.0f,
               args.query_grad + head.Query(t));
  }

  void StoreKey(int64_t s, const float* key, const float* value) const {
    StoreGated(in.key + head.Key(s), key, head.width, head.Mask(s),
               args.key_grad + head.Key(s));
    StoreScaled(value, head.width, 1.0f, args.value_grad + head.Key(s));
  }

  const PerformerAttentionBackwardArgs& args;
  const PerformerAttentionInputs& in;
  const PerformerHead head;
  const int64_t chunk;
};

// Working memory of a head's backward pass.
struct PerformerBuffers {
  PerformerBuffers(const PerformerBackward& task, Carver* carver)
      : size(task.head.width * task.head.row),
        row(task.head.row),
        first(carver->Take(size)),
        second(carver->Take(size)),
        total(carver->Take(row)),
        query_total(carver->Take(row)),
        queries(carver->Take(task.chunk * row)),
        gradients(carver->Take(task.chunk * row)),
        keys(carver->Take(task.chunk * row)),
        values(carver->Take(task.chunk * row)),
        out(carver->Take(task.chunk * row)),
        more_out(carver->Take(task.chunk * row)),
        factors(carver->Take(task.in.query_length)) {}

  static int64_t Size(const PerformerBackward& task) {
    return 2 * Carver::Size(task.head.width * task.head.row) +
           2 * Carver::Size(task.head.row) +
           6 * Carver::Size(task.chunk * task.head.row) +
           Carver::Size(task.in.query_length);
  }

  void Clear() const {
    std::fill_n(first, size, 0.0f);
    std::fill_n(second, size, 0.0f);
    std::fill_n(total, row, 0.0f);
    std::fill_n(query_total, row, 0.0f);
  }

  const int64_t size;
  const int64_t row;
  float* const first;  // states
  float* const second;
  float* const total;  // sum of phi(k), and of factors times phi(q)
  float* const query_total;
  float* const queries;  // phi(q), g, phi(k) and v of a chunk
  float* const gradients;
  float* const keys;
  float* const values;
  float* const out;
  float* const more_out;
  float* const factors;  // gradients of the denominators
};

// From the first position to the last: the gradient by the queries.
CLINOMETER_INLINE void CausalQueryGradient(const PerformerBackward& task,
                                           const PerformerBuffers& at) {
  const PerformerAttentionInputs& in = task.in;
  const PerformerHead& head = task.head;
  const int64_t row = head.row;
  at.Clear();
  for (int64_t t = 0; t < in.query_length; t += task.chunk) {
    const int64_t rows = std::min(task.chunk, in.query_length - t);
    for (int64_t i = 0; i < rows; ++i) {
      head.KeyFeatures(t + i, at.keys + i * row);
      head.Value(t + i, at.values + i * row);
      AddScaled(at.keys + i * row, row, 1.0f, at.total);
      task.Gradient(t + i, at.gradients + i * row);
      at.factors[t + i] = task.TotalGradient(t + i);
      SetScaled(at.total, row, at.factors[t + i], at.out + i * row);
    }
    Ahead ahead = head.KeyRows(t + rows, task.chunk);
    task.AddQueryRows(t + rows, &ahead);
    head.Pad(rows, at.values);
    Scan(head.Pad(rows, at.keys), head.width, row,
         {at.gradients, at.values, at.keys, at.first, at.out}, ahead);
    for (int64_t i = 0; i < rows; ++i) task.StoreQuery(t + i, at.out + i * row);
  }
}

// From the last position to the first: the gradients by the keys and values.
CLINOMETER_INLINE void CausalKeyGradient(const PerformerBackward& task,
                                         const PerformerBuffers& at) {
  const PerformerAttentionInputs& in = task.in;
  const PerformerHead& head = task.head;
  const int64_t row = head.row;
  at.Clear();
  for (int64_t end = in.key_length; end > 0; end -= std::min(task.chunk, end)) {
    const int64_t rows = std::min(task.chunk, end);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t t = end - 1 - i;
      head.QueryFeatures(t, at.queries + i * row);
      head.KeyFeatures(t, at.keys + i * row);
      head.Value(t, at.values + i * row);
      task.Gradient(t, at.gradients + i * row);
      AddScaled(at.queries + i * row, row, at.factors[t], at.query_total);
      SetScaled(at.query_total, row, 1.0f, at.out + i * row);
    }
    const int64_t next = std::max<int64_t>(end - rows - 1, 0);
    Ahead ahead{std::min(task.chunk, end - rows), -head.step};
    ahead.Add(in.query + head.Query(next));
    ahead.Add(in.key + head.Key(next));
    Ahead more_ahead{ahead.rows, -head.step};
    more_ahead.Add(in.value + head.Key(next));
    more_ahead.Add(task.args.output_grad + head.Query(next));
    head.Pad(rows, at.queries);
    const int64_t padded = head.Pad(rows, at.gradients);
    std::fill_n(at.more_out, padded * row, 0.0f);
    Scan(padded, head.width, row,
         {at.values, at.gradients, at.queries, at.first, at.out}, ahead);
    Scan(padded, head.width, row,
         {at.keys, at.queries, at.gradients, at.second, at.more_out},
         more_ahead);
    for (int64_t i = 0; i < rows; ++i) {
      task.StoreKey(end - 1 - i, at.out + i * row, at.more_out + i * row);
    }
  }
}

// Where all queries see all keys: one sum over keys, then one over queries.
CLINOMETER_INLINE void BidirectionalGradient(const PerformerBackward& task,
                                             const PerformerBuffers& at) {
  const PerformerAttentionInputs& in = task.in;
  const PerformerHead& head = task.head;
  const int64_t row = head.row;
  at.Clear();
  for (int64_t s = 0; s < in.key_length; s += task.chunk) {
    const int64_t rows = std::min(task.chunk, in.key_length - s);
    for (int64_t i = 0; i < rows; ++i) {
      head.KeyFeatures(s + i, at.keys + i * row);
      head.Value(s + i, at.values + i * row);
      AddScaled(at.keys + i * row, row, 1.0f, at.total);
    }
    AddOuter(rows, head.width, row, at.values, at.keys, at.second,
             head.KeyRows(s + rows, task.chunk));
  }
  for (int64_t t = 0; t < in.query_length; t += task.chunk) {
    const int64_t rows = std::min(task.chunk, in.query_length - t);
    for (int64_t i = 0; i < rows; ++i) {
      head.QueryFeatures(t + i, at.queries + i * row);
      task.Gradient(t + i, at.gradients + i * row);
      const float factor = task.TotalGradient(t + i);
      SetScaled(at.total, row, factor, at.out + i * row);
      AddScaled(at.queries + i * row, row, factor, at.query_total);
    }
    Ahead ahead{std::min(task.chunk, in.query_length - t - rows), head.step};
    task.AddQueryRows(t + rows, &ahead);
    AddOuter(rows, head.width, row, at.gradients, at.queries, at.first, ahead);
    ReadState(rows, head.width, row, at.gradients, at.second, at.out, true, {});
    for (int64_t i = 0; i < rows; ++i) task.StoreQuery(t + i, at.out + i * row);
  }
  for (int64_t e = 0; e < head.width; ++e) {
    for (int64_t d = 0; d < head.width; ++d) {
      at.second[d * row + e] = at.first[e * row + d];
    }
  }
  for (int64_t s = 0; s < in.key_length; s += task.chunk) {
    const int64_t rows = std::min(task.chunk, in.key_length - s);
    for (int64_t i = 0; i < rows; ++i) {
      head.KeyFeatures(s + i, at.keys + i * row);
      head.Value(s + i, at.values + i * row);
      SetScaled(at.query_total, row, 1.0f, at.out + i * row);
    }
    ReadState(rows, head.width, row, at.values, at.first, at.out, true,
              head.KeyRows(s + rows, task.chunk));
    ReadState(rows, head.width, row, at.keys, at.second, at.more_out, false,
              {});
    for (int64_t i = 0; i < rows; ++i) {
      task.StoreKey(s + i, at.out + i * row, at.more_out + i * row);
    }
  }
}

void PerformerAttentionForward(const PerformerAttentionForwardArgs& args,
                               const Pool& pool) {
  const int64_t heads = args.inputs.heads;
  pool.For(args.inputs.batch * heads, [&args, heads](int64_t i) {
    PerformerForwardTask(args, i / heads, i % heads);
  });
}

void PerformerAttentionBackward(const PerformerAttentionBackwardArgs& args,
                                const Pool& pool) {
  const int64_t heads = args.inputs.heads;
  pool.For(args.inputs.batch * heads, [&args, heads](int64_t i) {
    const PerformerBackward task(args, i / heads, i % heads);
    Carver carver(ThreadScratch(PerformerBuffers::Size(task)));
    const PerformerBuffers buffers(task, &carver);
    if (task.in.causal) {
      CausalQueryGradient(task, buffers);
      CausalKeyGradient(task, buffers);
    } else {
      BidirectionalGradient(task, buffers);
    }
  });
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_PERFORMER_ATTENTION_INL_H_
