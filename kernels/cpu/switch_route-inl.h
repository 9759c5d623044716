// Top-1 routing: everything that depends on one token only is computed for
// blocks of tokens in parallel, followed by a short pass in token order for the
// positions within the experts.

#ifndef CLINOMETER_KERNELS_CPU_SWITCH_ROUTE_INL_H_
#define CLINOMETER_KERNELS_CPU_SWITCH_ROUTE_INL_H_

#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

// A token's largest logit, its index, and the sum of exponentials relative to
// it.
struct TopLogit {
  float most;
  int32_t index;
  float total;
};

// The tokens of one task.
struct RouteBlock {
  RouteBlock(const SwitchRouteInputs& in, int64_t task)
      : group(task / in.Blocks()),
        begin(task % in.Blocks() * kRouteBlock),
        end(std::min(begin + kRouteBlock, in.tokens)),
        logits(in.logits + group * in.tokens * in.experts),
        mask(in.mask + group * in.mask_stride) {}

  const int64_t group;
  const int64_t begin;
  const int64_t end;
  const float* const logits;  // of the group
  const bool* const mask;     // of the group
};

// Like Exp, but NaN stays NaN.
CLINOMETER_INLINE Vec ExpOrNan(Vec x) { return x == x ? Exp(x) : x; }

// Returns a row of logits in whole vectors: the row itself, or a copy padded
// with minus infinity.
CLINOMETER_INLINE const float* WholeVectors(const float* row, int64_t experts,
                                            int64_t padded, float* copy) {
  if (experts == padded) return row;
  for (int64_t j = 0; j < experts; ++j) copy[j] = row[j];
  for (int64_t j = experts; j < padded; ++j) copy[j] = -INFINITY;
  return copy;
}

// Writes the exponentials of a row relative to its largest logit; ties go to
// the lowest index.
CLINOMETER_INLINE TopLogit Exponentials(const float* row, int64_t experts,
                                        int64_t padded, float* weights) {
  Vec best = Load(row);
  IntVec lanes = Iota();
  IntVec best_lanes = lanes;
  for (int64_t j = kLanes; j < padded; j += kLanes) {
    const Vec x = Load(row + j);
    lanes += static_cast<int32_t>(kLanes);
    best_lanes = x > best ? lanes : best_lanes;
    best = Max(x, best);
  }
  TopLogit top;
  top.most = MaxLane(best);
  top.index = INT32_MAX;
  for (int i = 0; i < kLanes; ++i) {
    const int32_t lane = best[i] == top.most ? best_lanes[i] : INT32_MAX;
    top.index = std::min(top.index, lane);
  }
  const Vec shift = Set(top.most);
  Vec total = Vec{};
  for (int64_t j = 0; j < padded; j += kLanes) {
    const Vec weight = ExpOrNan(Load(row + j) - shift);
    Store(weights + j, weight);
    total += weight;
  }
  top.total = Sum(total);
  if (top.total !=
      top.total) {  // A NaN is the largest of all, as jnp.argmax has it.
    for (int64_t j = experts - 1; j >= 0; --j) {
      if (row[j] != row[j]) top.index = static_cast<int32_t>(j);
    }
  }
  return top;
}

// The parallel part: the tokens' experts and gates, and the block's sums.
CLINOMETER_INLINE void RouteTokens(const SwitchRouteForwardArgs& args,
                                   int64_t task) {
  const SwitchRouteInputs& in = args.inputs;
  const RouteBlock block(in, task);
  const int64_t padded = RoundUp(in.experts, kLanes);
  Carver carver(ThreadScratch(2 * Carver::Size(padded)));
  float* copy = carver.Take(padded);
  float* weights = carver.Take(padded);
  float* probability = args.sums + task * in.SumsSize();
  float& z = probability[in.SumsSize() - 1];
  std::fill_n(probability, in.SumsSize(), 0.0f);
  for (int64_t n = block.begin; n < block.end; ++n) {
    const TopLogit top = Exponentials(
        WholeVectors(block.logits + n * in.experts, in.experts, padded, copy),
        in.experts, padded, weights);
    const int64_t token = block.group * in.tokens + n;
    args.expert_index[token] = top.index;
    args.gate[token] = 0;
    if (!block.mask[n]) continue;
    const float gate = 1.0f / top.total;
    args.gate[token] = gate;
    const Vec scale = Set(gate);
    for (int64_t j = 0; j < padded; j += kLanes) {
      Store(probability + j, Load(probability + j) + Load(weights + j) * scale);
    }
    const float log_sum_exp = top.most + std::log(top.total);
    z += log_sum_exp * log_sum_exp;
  }
}

// The sequential part: the slots, and the means of a group.
CLINOMETER_INLINE void RouteGroup(const SwitchRouteForwardArgs& args,
                                  int64_t group) {
  const SwitchRouteInputs& in = args.inputs;
  const bool* mask = in.mask + group * in.mask_stride;
  const int32_t* expert_index = args.expert_index + group * in.tokens;
  int32_t* slot = args.slot + group * in.tokens;
  int32_t* counts = args.counts + group * in.experts;
  const auto capacity = static_cast<int32_t>(args.capacity);
  std::fill_n(counts, in.experts, 0);
  int64_t routed = 0;
  for (int64_t n = 0; n < in.tokens; ++n) {
    slot[n] = -1;
    if (!mask[n]) continue;
    const int32_t expert = expert_index[n];
    const int32_t position = counts[expert]++;
    if (position < capacity) slot[n] = expert * capacity + position;
    ++routed;
  }
  const float share = 1.0f / static_cast<float>(std::max<int64_t>(routed, 1));
  const float* sums = args.sums + group * in.Blocks() * in.SumsSize();
  float* load = args.load + group * in.experts;
  float* probability = args.probability + group * in.experts;
  for (int64_t e = 0; e < in.experts; ++e) {
    load[e] = static_cast<float>(counts[e]) * share;
    counts[e] = std::min(counts[e], capacity);
    float sum = 0;
    for (int64_t b = 0; b < in.Blocks(); ++b)
      sum += sums[b * in.SumsSize() + e];
    probability[e] = sum * share;
  }
  float z = 0;
  for (int64_t b = 1; b <= in.Blocks(); ++b) z += sums[b * in.SumsSize() - 1];
  args.z[group] = z * share;
}

// With p the probabilities, g the gate and M the routed tokens of the group, a
// token's
//   logits_grad = p (probability_grad / M + shared), plus gate_grad g at its
//   expert, shared = (2 z_grad lse - <probability_grad, p>) / M - gate_grad g.
CLINOMETER_INLINE void RouteGradients(const SwitchRouteBackwardArgs& args,
                                      int64_t task) {
  const SwitchRouteInputs& in = args.inputs;
  const RouteBlock block(in, task);
  const int64_t experts = in.experts, padded = RoundUp(experts, kLanes);
  Carver carver(ThreadScratch(3 * Carver::Size(padded)));
  float* copy = carver.Take(padded);
  float* weights = carver.Take(padded);
  float* probability_grad = carver.Take(padded);
  int64_t routed = 0;
  for (int64_t n = 0; n < in.tokens; ++n) routed += block.mask[n];
  const float share = 1.0f / static_cast<float>(std::max<int64_t>(routed, 1));
  for (int64_t j = 0; j < experts; ++j) {
    probability_grad[j] =
        args.probability_grad[block.group * experts + j] * share;
  }
  std::fill_n(probability_grad + experts, padded - experts, 0.0f);
  const float z_grad = 2.0f * args.z_grad[block.group] * share;

  for (int64_t n = block.begin; n < block.end; ++n) {
    const int64_t token = block.group * in.tokens + n;
    const int32_t expert = args.expert_index[token];
    float* grad = args.logits_grad + token * experts;
    if (!block.mask[n] || expert < 0 || expert >= experts) {
      std::fill_n(grad, experts, 0.0f);
      continue;
    }
    const float* row =
        WholeVectors(block.logits + n * experts, experts, padded, copy);
    const float gate = args.gate[token];
    const float most = row[expert];
    const Vec shift = Set(most), scale = Set(gate);
    Vec product = Vec{};
    for (int64_t j = 0; j < padded; j += kLanes) {
      const Vec p =
          Exp(Load(row + j) - shift) * scale;  // A NaN is in the gate.
      Store(weights + j, p);
      product += p * Load(probability_grad + j);
    }
    const float gate_part = args.gate_grad[token] * gate;
    const float log_sum_exp = most - std::log(gate);
    const Vec shared = Set(z_grad * log_sum_exp - Sum(product) - gate_part);
    float* to = experts == padded ? grad : weights;
    for (int64_t j = 0; j < padded; j += kLanes) {
      Store(to + j, Load(weights + j) * (Load(probability_grad + j) + shared));
    }
    if (to != grad) std::copy_n(to, experts, grad);
    grad[expert] += gate_part;
  }
}

void SwitchRouteForward(const SwitchRouteForwardArgs& args, const Pool& pool) {
  const SwitchRouteInputs& in = args.inputs;
  pool.For(in.groups * in.Blocks(),
           [&args](int64_t task) { RouteTokens(args, task); });
  pool.For(in.groups, [&args](int64_t group) { RouteGroup(args, group); });
}

void SwitchRouteBackward(const SwitchRouteBackwardArgs& args,
                         const Pool& pool) {
  const SwitchRouteInputs& in = args.inputs;
  pool.For(in.groups * in.Blocks(),
           [&args](int64_t task) { RouteGradients(args, task); });
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_SWITCH_ROUTE_INL_H_
