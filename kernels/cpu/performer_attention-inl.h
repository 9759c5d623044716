// Performer attention position by position. The state of a head stays in the
// caches, and each part of it is read and written once every few positions.
//
// Every causal product of both passes has the form
//
//   out_i = sum over j <= i of (a_i . b_j) c_j,
//
// with (a, b, c) = (phi(q), phi(k), v) for the output. Let g be the output's
// gradient divided by the denominator. Then (a, b, c) is (g, v, phi(k)) for the
// gradient of phi(q) and, from the last position to the first, (v, g, phi(q))
// for that of phi(k) and (phi(k), phi(q), g) for that of v. If not causal, the
// sum is over all j, and the products are plain matrix products.

#ifndef CLINOMETER_KERNELS_CPU_PERFORMER_ATTENTION_INL_H_
#define CLINOMETER_KERNELS_CPU_PERFORMER_ATTENTION_INL_H_

#include "kernels/cpu/linear_scan-inl.h"
#include "kernels/cpu/performer_head-inl.h"
#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

// Writes a query's denominator, and its inverse to `inverse`.
CLINOMETER_INLINE void Denominator(const PerformerAttentionForwardArgs& args,
                                   const PerformerHead& head, int64_t t,
                                   const float* features,
                                   const RunningSum& total, float* inverse) {
  float denominator = Dot(features, total.part(), head.row);
  if (total.before() != nullptr) {
    denominator += Dot(features, total.before(), head.row);
  }
  args.denominator[head.denominators + t] = denominator;
  *inverse = Inverse(denominator);
}

CLINOMETER_INLINE void PerformerForwardTask(
    const PerformerAttentionForwardArgs& args, int64_t b, int64_t h) {
  const PerformerAttentionInputs& in = args.inputs;
  const PerformerHead head(in, b, h);
  const int64_t width = head.width, row = head.row;
  const int64_t chunk = in.causal ? kScanChunk : kProductChunk;
  Carver carver(
      ThreadScratch(RunningSum::Size(width * row) + RunningSum::Size(row) +
                    4 * Carver::Size(chunk * row) + Carver::Size(chunk)));
  RunningSum state(width * row, &carver);  // of phi(k) v^T
  RunningSum total(row, &carver);          // of phi(k)
  float* queries = carver.Take(chunk * row);
  float* keys = carver.Take(chunk * row);
  float* values = carver.Take(chunk * row);
  float* out = carver.Take(chunk * row);
  float* inverse = carver.Take(chunk);
  state.Clear();
  total.Clear();

  for (int64_t s = 0; !in.causal && s < in.key_length; s += chunk) {
    const int64_t rows = std::min(chunk, in.key_length - s);
    state.Advance(s);
    total.Advance(s);
    for (int64_t i = 0; i < rows; ++i) {
      head.KeyFeatures(s + i, keys + i * row);
      head.Value(s + i, values + i * row);
    }
    AddRows(keys, rows, row, total.part());
    const Ahead ahead = head.KeyRows(s + rows, chunk);
    AddOuter(rows, width, row, keys, values, state.part(), ahead);
  }
  if (!in.causal) {
    state.Finish();
    total.Finish();
  }
  for (int64_t t = 0; t < in.query_length; t += chunk) {
    const int64_t rows = std::min(chunk, in.query_length - t);
    if (in.causal) {
      state.Advance(t);
      total.Advance(t);
    }
    for (int64_t i = 0; i < rows; ++i) {
      if (in.causal) {
        head.KeyFeatures(t + i, keys + i * row);
        head.Value(t + i, values + i * row);
        AddScaled(keys + i * row, row, 1.0f, total.part());
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
      ScanState(padded, width, row, {queries, keys, values, nullptr, out},
                state, ahead);
    } else {
      Ahead ahead{std::min(chunk, in.query_length - t - rows), head.step};
      ahead.Add(in.query + head.Query(t + rows));
      ReadState(rows, width, row, queries, state.part(), out, false, ahead);
    }
    for (int64_t i = 0; i < rows; ++i) {
      StoreScaled(out + i * row, width, inverse[i],
                  args.output + head.Query(t + i));
    }
  }
}

// Shared by both parts of a head's backward pass.
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

  // Writes g of query t.
  void Gradient(int64_t t, float* out) const {
    Gather(args.output_grad + head.Query(t), head.width, Scale(t), out);
  }

  // The gradient of the denominator of query t.
  float TotalGradient(int64_t t) const {
    const int64_t start = head.Query(t);
    return -Scale(t) *
           Dot(args.output_grad + start, args.output + start, head.width);
  }

  // The rows that the query gradient reads, from query t on.
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
      : row(task.head.row),
        first(task.head.width * row, carver),
        second(task.head.width * row, carver),
        total(row, carver),
        query_total(row, carver),
        queries(carver->Take(task.chunk * row)),
        gradients(carver->Take(task.chunk * row)),
        keys(carver->Take(task.chunk * row)),
        values(carver->Take(task.chunk * row)),
        out(carver->Take(task.chunk * row)),
        more_out(carver->Take(task.chunk * row)),
        factors(carver->Take(task.in.query_length)) {}

  static int64_t Size(const PerformerBackward& task) {
    return 2 * RunningSum::Size(task.head.width * task.head.row) +
           2 * RunningSum::Size(task.head.row) +
           6 * Carver::Size(task.chunk * task.head.row) +
           Carver::Size(task.in.query_length);
  }

  void Clear() {
    for (RunningSum* sum : {&first, &second, &total, &query_total}) {
      sum->Clear();
    }
  }

  // See `RunningSum::Advance`.
  void Advance(int64_t positions) {
    for (RunningSum* sum : {&first, &second, &total, &query_total}) {
      sum->Advance(positions);
    }
  }

  const int64_t row;
  RunningSum first;  // states
  RunningSum second;
  RunningSum total;  // of phi(k), and of factors times phi(q)
  RunningSum query_total;
  float* const queries;  // phi(q), g, phi(k) and v of a chunk
  float* const gradients;
  float* const keys;
  float* const values;
  float* const out;
  float* const more_out;
  float* const factors;  // gradients of the denominators
};

// The query gradients, from the first position to the last.
CLINOMETER_INLINE void CausalQueryGradient(const PerformerBackward& task,
                                           PerformerBuffers& at) {
  const PerformerAttentionInputs& in = task.in;
  const PerformerHead& head = task.head;
  const int64_t row = head.row;
  at.Clear();
  for (int64_t t = 0; t < in.query_length; t += task.chunk) {
    const int64_t rows = std::min(task.chunk, in.query_length - t);
    at.Advance(t);
    for (int64_t i = 0; i < rows; ++i) {
      head.KeyFeatures(t + i, at.keys + i * row);
      head.Value(t + i, at.values + i * row);
      AddScaled(at.keys + i * row, row, 1.0f, at.total.part());
      task.Gradient(t + i, at.gradients + i * row);
      at.factors[t + i] = task.TotalGradient(t + i);
      SetScaledTotal(at.total, row, at.factors[t + i], at.out + i * row);
    }
    Ahead ahead = head.KeyRows(t + rows, task.chunk);
    task.AddQueryRows(t + rows, &ahead);
    head.Pad(rows, at.values);
    ScanState(head.Pad(rows, at.keys), head.width, row,
              {at.gradients, at.values, at.keys, nullptr, at.out}, at.first,
              ahead);
    for (int64_t i = 0; i < rows; ++i) task.StoreQuery(t + i, at.out + i * row);
  }
}

// The key and value gradients, from the last position to the first.
CLINOMETER_INLINE void CausalKeyGradient(const PerformerBackward& task,
                                         PerformerBuffers& at) {
  const PerformerAttentionInputs& in = task.in;
  const PerformerHead& head = task.head;
  const int64_t row = head.row;
  at.Clear();
  for (int64_t end = in.key_length; end > 0; end -= std::min(task.chunk, end)) {
    const int64_t rows = std::min(task.chunk, end);
    at.Advance(in.key_length - end);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t t = end - 1 - i;
      head.QueryFeatures(t, at.queries + i * row);
      head.KeyFeatures(t, at.keys + i * row);
      head.Value(t, at.values + i * row);
      task.Gradient(t, at.gradients + i * row);
      AddScaled(at.queries + i * row, row, at.factors[t],
                at.query_total.part());
      SetScaledTotal(at.query_total, row, 1.0f, at.out + i * row);
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
    ScanState(padded, head.width, row,
              {at.values, at.gradients, at.queries, nullptr, at.out}, at.first,
              ahead);
    ScanState(padded, head.width, row,
              {at.keys, at.queries, at.gradients, nullptr, at.more_out},
              at.second, more_ahead);
    for (int64_t i = 0; i < rows; ++i) {
      task.StoreKey(end - 1 - i, at.out + i * row, at.more_out + i * row);
    }
  }
}

// The non-causal form: one sum over keys, then one over queries.
CLINOMETER_INLINE void BidirectionalGradient(const PerformerBackward& task,
                                             PerformerBuffers& at) {
  const PerformerAttentionInputs& in = task.in;
  const PerformerHead& head = task.head;
  const int64_t row = head.row;
  at.Clear();
  for (int64_t s = 0; s < in.key_length; s += task.chunk) {
    const int64_t rows = std::min(task.chunk, in.key_length - s);
    at.second.Advance(s);
    at.total.Advance(s);
    for (int64_t i = 0; i < rows; ++i) {
      head.KeyFeatures(s + i, at.keys + i * row);
      head.Value(s + i, at.values + i * row);
    }
    AddRows(at.keys, rows, row, at.total.part());
    AddOuter(rows, head.width, row, at.values, at.keys, at.second.part(),
             head.KeyRows(s + rows, task.chunk));
  }
  at.second.Finish();
  at.total.Finish();
  for (int64_t t = 0; t < in.query_length; t += task.chunk) {
    const int64_t rows = std::min(task.chunk, in.query_length - t);
    at.first.Advance(t);
    at.query_total.Advance(t);
    for (int64_t i = 0; i < rows; ++i) {
      head.QueryFeatures(t + i, at.queries + i * row);
      task.Gradient(t + i, at.gradients + i * row);
      const float factor = task.TotalGradient(t + i);
      SetScaled(at.total.part(), row, factor, at.out + i * row);
      AddScaled(at.queries + i * row, row, factor, at.query_total.part());
    }
    Ahead ahead{std::min(task.chunk, in.query_length - t - rows), head.step};
    task.AddQueryRows(t + rows, &ahead);
    AddOuter(rows, head.width, row, at.gradients, at.queries, at.first.part(),
             ahead);
    ReadState(rows, head.width, row, at.gradients, at.second.part(), at.out,
              true, {});
    for (int64_t i = 0; i < rows; ++i) task.StoreQuery(t + i, at.out + i * row);
  }
  at.first.Finish();
  at.query_total.Finish();
  const float* first = at.first.part();
  float* second = at.second.part();  // The same, transposed.
  for (int64_t e = 0; e < head.width; ++e) {
    for (int64_t d = 0; d < head.width; ++d) {
      second[d * row + e] = first[e * row + d];
    }
  }
  for (int64_t s = 0; s < in.key_length; s += task.chunk) {
    const int64_t rows = std::min(task.chunk, in.key_length - s);
    for (int64_t i = 0; i < rows; ++i) {
      head.KeyFeatures(s + i, at.keys + i * row);
      head.Value(s + i, at.values + i * row);
      SetScaled(at.query_total.part(), row, 1.0f, at.out + i * row);
    }
    ReadState(rows, head.width, row, at.values, first, at.out, true,
              head.KeyRows(s + rows, task.chunk));
    ReadState(rows, head.width, row, at.keys, second, at.more_out, false, {});
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
    PerformerBuffers buffers(task, &carver);
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
