// Copies rows between tokens and slots, in blocks of written rows.

#ifndef CLINOMETER_KERNELS_CPU_SWITCH_ROWS_INL_H_
#define CLINOMETER_KERNELS_CPU_SWITCH_ROWS_INL_H_

#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

// Rows per task: long runs, because reading rows is memory-bound.
constexpr int64_t kRowsBlock = 512;
constexpr int64_t kLine = 16;  // floats of a line of the caches

CLINOMETER_INLINE bool HasSlot(int32_t slot, int64_t slots) {
  return slot >= 0 && slot < slots;
}

// Also prefetches the next row, which can be anywhere: there is no pattern that
// the hardware prefetcher could follow.
CLINOMETER_INLINE void ScaleRow(const float* from, float scale, int64_t width,
                                const float* next, float* to) {
  constexpr int64_t kStep = 4 * kLanes;  // at least a line
  int64_t j = 0;
  const Vec scales = Set(scale);
  for (; j + kStep <= width; j += kStep) {
    for (int64_t i = 0; i < kStep; i += kLine) __builtin_prefetch(next + j + i);
    for (int64_t i = 0; i < kStep; i += kLanes)
      Store(to + j + i, Load(from + j + i) * scales);
  }
  for (; j + kLanes <= width; j += kLanes)
    Store(to + j, Load(from + j) * scales);
  for (; j < width; ++j) to[j] = from[j] * scale;
}

// Inverts the slots of tokens to the tokens of slots.
CLINOMETER_INLINE void InvertSlots(const SwitchDispatchArgs& args,
                                   int64_t group) {
  const SwitchRowsShape& in = args.shape;
  const int32_t* slot = in.slot + group * in.tokens;
  int32_t* token = args.token + group * in.slots;
  std::fill_n(token, in.slots, -1);
  for (int64_t n = 0; n < in.tokens; ++n) {
    if (HasSlot(slot[n], in.slots)) token[slot[n]] = static_cast<int32_t>(n);
  }
  if (args.combined == nullptr) return;
  std::fill_n(args.gate_grad + group * in.tokens, in.tokens, 0.0f);
}

// Writes rows [begin, end) of a group's slots.
CLINOMETER_INLINE void DispatchRows(const SwitchDispatchArgs& args,
                                    int64_t group, int64_t begin, int64_t end) {
  const SwitchRowsShape& in = args.shape;
  const float* rows = args.token_rows + group * in.tokens * in.width;
  const int32_t* tokens = args.token + group * in.slots;
  for (int64_t s = begin; s < end; ++s) {
    const int64_t place = group * in.slots + s;
    float* to = args.slot_rows + place * in.width;
    if (tokens[s] < 0) {
      std::fill_n(to, in.width, 0.0f);
      continue;
    }
    const int64_t token = group * in.tokens + tokens[s];
    const bool has_next = s + 1 < end && tokens[s + 1] >= 0;
    const float* from = rows + tokens[s] * in.width;
    const float* next = has_next ? rows + tokens[s + 1] * in.width : from;
    const float scale = args.gate == nullptr ? 1.0f : args.gate[token];
    ScaleRow(from, scale, in.width, next, to);
    if (args.combined == nullptr) continue;
    args.gate_grad[token] =
        Dot(from, args.combined + place * in.width, in.width);
  }
}

// Writes rows [begin, end) of a group's tokens.
CLINOMETER_INLINE void CombineRows(const SwitchCombineArgs& args, int64_t group,
                                   int64_t begin, int64_t end) {
  const SwitchRowsShape& in = args.shape;
  const float* rows = args.slot_rows + group * in.slots * in.width;
  const int32_t* slots = in.slot + group * in.tokens;
  for (int64_t n = begin; n < end; ++n) {
    float* to = args.token_rows + (group * in.tokens + n) * in.width;
    if (!HasSlot(slots[n], in.slots)) {
      std::fill_n(to, in.width, 0.0f);
      continue;
    }
    const bool has_next = n + 1 < end && HasSlot(slots[n + 1], in.slots);
    const float* from = rows + slots[n] * in.width;
    const float* next = has_next ? rows + slots[n + 1] * in.width : from;
    const float scale = args.gate[group * args.gate_stride + n];
    ScaleRow(from, scale, in.width, next, to);
  }
}

void SwitchDispatch(const SwitchDispatchArgs& args, const Pool& pool) {
  const SwitchRowsShape& in = args.shape;
  pool.For(in.groups, [&args](int64_t group) { InvertSlots(args, group); });
  const int64_t blocks = (in.slots + kRowsBlock - 1) / kRowsBlock;
  pool.For(in.groups * blocks, [&args, &in, blocks](int64_t task) {
    const int64_t begin = task % blocks * kRowsBlock;
    const int64_t end = std::min(begin + kRowsBlock, in.slots);
    DispatchRows(args, task / blocks, begin, end);
  });
}

void SwitchCombine(const SwitchCombineArgs& args, const Pool& pool) {
  const SwitchRowsShape& in = args.shape;
  const int64_t blocks = (in.tokens + kRowsBlock - 1) / kRowsBlock;
  pool.For(in.groups * blocks, [&args, &in, blocks](int64_t task) {
    const int64_t begin = task % blocks * kRowsBlock;
    const int64_t end = std::min(begin + kRowsBlock, in.tokens);
    CombineRows(args, task / blocks, begin, end);
  });
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_SWITCH_ROWS_INL_H_
