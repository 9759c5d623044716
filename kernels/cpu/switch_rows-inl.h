// Copies of rows between tokens and slots, by blocks of what is written.

#ifndef CLINOMETER_KERNELS_CPU_SWITCH_ROWS_INL_H_
#define CLINOMETER_KERNELS_CPU_SWITCH_ROWS_INL_H_

#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

constexpr int64_t kRowsBlock = 128;  // rows of one task

CLINOMETER_INLINE bool HasSlot(int32_t slot, int64_t slots) {
  return slot >= 0 && slot < slots;
}

CLINOMETER_INLINE void ScaleRow(const float* from, float scale, int64_t width,
                                float* to) {
  int64_t j = 0;
  const Vec scales = Set(scale);
  for (; j + kLanes <= width; j += kLanes)
    Store(to + j, Load(from + j) * scales);
  for (; j < width; ++j) to[j] = from[j] * scale;
}

// Turns slots of tokens into tokens of slots.
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

CLINOMETER_INLINE void DispatchRow(const SwitchDispatchArgs& args,
                                   int64_t group, int64_t slot) {
  const SwitchRowsShape& in = args.shape;
  const int64_t place = group * in.slots + slot;
  float* to = args.slot_rows + place * in.width;
  if (args.token[place] < 0) {
    std::fill_n(to, in.width, 0.0f);
    return;
  }
  const int64_t token = group * in.tokens + args.token[place];
  const float* from = args.token_rows + token * in.width;
  ScaleRow(from, args.gate == nullptr ? 1.0f : args.gate[token], in.width, to);
  if (args.combined == nullptr) return;
  args.gate_grad[token] = Dot(from, args.combined + place * in.width, in.width);
}

CLINOMETER_INLINE void CombineRow(const SwitchCombineArgs& args, int64_t group,
                                  int64_t n) {
  const SwitchRowsShape& in = args.shape;
  const int64_t token = group * in.tokens + n;
  const int32_t slot = in.slot[token];
  float* to = args.token_rows + token * in.width;
  if (!HasSlot(slot, in.slots)) {
    std::fill_n(to, in.width, 0.0f);
    return;
  }
  ScaleRow(args.slot_rows + (group * in.slots + slot) * in.width,
           args.gate[group * args.gate_stride + n], in.width, to);
}

void SwitchDispatch(const SwitchDispatchArgs& args, const Pool& pool) {
  const SwitchRowsShape& in = args.shape;
  pool.For(in.groups, [&args](int64_t group) { InvertSlots(args, group); });
  const int64_t blocks = (in.slots + kRowsBlock - 1) / kRowsBlock;
  pool.For(in.groups * blocks, [&args, &in, blocks](int64_t task) {
    const int64_t begin = task % blocks * kRowsBlock;
    const int64_t end = std::min(begin + kRowsBlock, in.slots);
    for (int64_t s = begin; s < end; ++s) DispatchRow(args, task / blocks, s);
  });
}

void SwitchCombine(const SwitchCombineArgs& args, const Pool& pool) {
  const SwitchRowsShape& in = args.shape;
  const int64_t blocks = (in.tokens + kRowsBlock - 1) / kRowsBlock;
  pool.For(in.groups * blocks, [&args, &in, blocks](int64_t task) {
    const int64_t begin = task % blocks * kRowsBlock;
    const int64_t end = std::min(begin + kRowsBlock, in.tokens);
    for (int64_t n = begin; n < end; ++n) CombineRow(args, task / blocks, n);
  });
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_SWITCH_ROWS_INL_H_
