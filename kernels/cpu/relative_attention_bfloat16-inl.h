// Relative attention of bfloat16 numbers. A task converts the operands of its
// head to float32 and rounds its results: they stay in the L2 cache, while
// conversions of whole arrays go through memory. Included only by isa_*.cc.

#ifndef CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_BFLOAT16_INL_H_
#define CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_BFLOAT16_INL_H_

#include "kernels/cpu/relative_attention-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

// One example and head: where it is in the arrays of all, and float32 memory.
struct WideHead {
  // The carver must have room for `queries` arrays of a head's queries and
  // `keys` arrays of its keys.
  WideHead(const RelativeAttentionInputsOf<uint16_t>& inputs, int64_t b,
           int64_t h, int64_t queries, int64_t keys)
      : in(inputs),
        row(in.heads * in.width),
        index(b * in.heads + h),
        query_start((b * in.query_length * in.heads + h) * in.width),
        key_start((b * in.key_length * in.heads + h) * in.width),
        carver(
            ThreadScratch(queries * Carver::Size(in.query_length * in.width) +
                              keys * Carver::Size(in.key_length * in.width),
                          true)) {
    one.batch = one.heads = 1;
    one.query_length = in.query_length;
    one.key_length = in.key_length;
    one.width = in.width;
    one.causal = in.causal;
    one.masked = in.masked;
    one.query = Query(in.query);
    one.key = Widened(in.key + key_start, in.key_length);
    one.value = Widened(in.value + key_start, in.key_length);
    one.bias = in.bias == nullptr ? nullptr
                                  : in.bias + b * in.bias_stride +
                                        h * AttentionHead::BiasSize(one);
    one.query_segments = in.query_segments + b * in.query_segments_stride;
    one.key_segments = in.key_segments + b * in.key_segments_stride;
    one.offset = in.offset + b * in.offset_stride;
    one.bias_stride = one.query_segments_stride = one.key_segments_stride =
        one.offset_stride = 0;
  }

  // The head's part of an array of the queries.
  const float* Query(const uint16_t* source) {
    return Widened(source + query_start, in.query_length);
  }

  float* Take(int64_t length) { return carver.Take(length * in.width); }

  const float* Widened(const uint16_t* source, int64_t length) {
    float* to = Take(length);
    for (int64_t i = 0; i < length; ++i) {
      for (int64_t d = 0; d < in.width; d += kLanes) {
        const __mmask16 mask = FirstLanes(in.width - d);
        const __m512i bits = _mm512_maskz_cvtepu16_epi32(
            mask, _mm256_maskz_loadu_epi16(mask, source + i * row + d));
        _mm512_mask_storeu_ps(to + i * in.width + d, mask,
                              (Vec)_mm512_maskz_slli_epi32(mask, bits, 16));
      }
    }
    return to;
  }

  void Narrow(const float* from, int64_t length, uint16_t* to) const {
    for (int64_t i = 0; i < length; ++i) {
      for (int64_t d = 0; d < in.width; d += kLanes) {
        const int64_t left = in.width - d;
        _mm256_mask_storeu_epi16(to + i * row + d, FirstLanes(left),
                                 (__m256i)_mm512_cvtneps_pbh(
                                     LoadFirst(from + i * in.width + d, left)));
      }
    }
  }

  const RelativeAttentionInputsOf<uint16_t>& in;
  const int64_t row;    // numbers between positions
  const int64_t index;  // among the heads of all examples
  const int64_t query_start;
  const int64_t key_start;
  Carver carver;
  RelativeAttentionInputs one;  // as if there were no other
};

void RelativeAttentionForward(
    const RelativeAttentionForwardArgsOf<uint16_t>& args, const Pool& pool) {
  const auto& in = args.inputs;
  const int64_t parts = (in.query_length + kTaskRows - 1) / kTaskRows;
  pool.For(in.batch * in.heads * parts, [&args, &in, parts](int64_t i) {
    WideHead head(in, i / parts / in.heads, i / parts % in.heads, 2, 2);
    const int64_t begin = i % parts * kTaskRows;
    const int64_t end = std::min(begin + kTaskRows, in.query_length);
    RelativeAttentionForwardArgs one;
    one.inputs = head.one;
    one.output = head.Take(in.query_length);
    one.log_sum_exp = args.log_sum_exp + head.index * in.query_length;
    ForwardTask(one, 0, 0, begin, end);
    head.Narrow(one.output + begin * in.width, end - begin,
                args.output + head.query_start + begin * head.row);
  });
}

void RelativeAttentionBackward(
    const RelativeAttentionBackwardArgsOf<uint16_t>& args, const Pool& pool) {
  const auto& in = args.inputs;
  pool.For(in.batch * in.heads, [&args, &in](int64_t i) {
    WideHead head(in, i / in.heads, i % in.heads, 4, 4);
    RelativeAttentionBackwardArgs one;
    one.inputs = head.one;
    one.output = head.Query(args.output);
    one.output_grad = head.Query(args.output_grad);
    one.log_sum_exp = args.log_sum_exp + head.index * in.query_length;
    one.query_grad = head.Take(in.query_length);
    one.key_grad = head.Take(in.key_length);
    one.value_grad = head.Take(in.key_length);
    one.bias_grad =
        args.bias_grad == nullptr
            ? nullptr
            : args.bias_grad + head.index * AttentionHead::BiasSize(head.one);
    BackwardTask(one, 0, 0);
    head.Narrow(one.query_grad, in.query_length,
                args.query_grad + head.query_start);
    head.Narrow(one.key_grad, in.key_length, args.key_grad + head.key_start);
    head.Narrow(one.value_grad, in.key_length,
                args.value_grad + head.key_start);
  });
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_RELATIVE_ATTENTION_BFLOAT16_INL_H_
