#include "kernels/cpu/switch_route.h"

#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/cpu/buffers.h"
#include "kernels/cpu/check.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {
namespace {

namespace ffi = ::xla::ffi;

SwitchRouteInputs Inputs(Floats<3> logits, Bools<2> mask) {
  SwitchRouteInputs in;
  in.groups = logits.dimensions()[0];
  in.tokens = logits.dimensions()[1];
  in.experts = logits.dimensions()[2];
  in.logits = logits.typed_data();
  in.mask = mask.typed_data();
  in.mask_stride = ExampleStride(mask);
  return in;
}

Check CheckInputs(const SwitchRouteInputs& in, Bools<2> mask) {
  Check check("switch_route");
  check
      .That(in.tokens > 0 && in.experts > 0,
            "logits must hold at least one token and one expert")
      .SharedShape("mask", mask, {in.groups, in.tokens});
  return check;
}

ffi::Error Forward(ffi::ThreadPool threads, Floats<3> logits, Bools<2> mask,
                   IntResult<2> expert_index, IntResult<2> slot,
                   FloatResult<2> gate, IntResult<2> counts,
                   FloatResult<2> load, FloatResult<2> probability,
                   FloatResult<1> z, int64_t capacity) {
  SwitchRouteForwardArgs args;
  args.inputs = Inputs(logits, mask);
  const SwitchRouteInputs& in = args.inputs;
  Check check = CheckInputs(in, mask);
  check
      .That(
          capacity > 0 &&
              in.experts * capacity <= std::numeric_limits<int32_t>::max(),
          "capacity must be positive, and all slots must be counted in 32 bits")
      .Shape("expert_index", *expert_index, {in.groups, in.tokens})
      .Shape("slot", *slot, {in.groups, in.tokens})
      .Shape("gate", *gate, {in.groups, in.tokens})
      .Shape("counts", *counts, {in.groups, in.experts})
      .Shape("load", *load, {in.groups, in.experts})
      .Shape("probability", *probability, {in.groups, in.experts})
      .Shape("z", *z, {in.groups});
  if (check.Failed()) return check.Error();
  args.capacity = capacity;
  args.expert_index = expert_index->typed_data();
  args.slot = slot->typed_data();
  args.gate = gate->typed_data();
  args.counts = counts->typed_data();
  args.load = load->typed_data();
  args.probability = probability->typed_data();
  args.z = z->typed_data();
  std::vector<float> sums(in.groups * in.Blocks() * in.SumsSize());
  args.sums = sums.data();
  SwitchRouteForward(args, Pool(threads));
  return ffi::Error::Success();
}

ffi::Error Backward(ffi::ThreadPool threads, Floats<3> logits, Bools<2> mask,
                    Ints<2> expert_index, Floats<2> gate, Floats<2> gate_grad,
                    Floats<2> probability_grad, Floats<1> z_grad,
                    FloatResult<3> logits_grad) {
  SwitchRouteBackwardArgs args;
  args.inputs = Inputs(logits, mask);
  const SwitchRouteInputs& in = args.inputs;
  Check check = CheckInputs(in, mask);
  check.Shape("expert_index", expert_index, {in.groups, in.tokens})
      .Shape("gate", gate, {in.groups, in.tokens})
      .Shape("gate_grad", gate_grad, {in.groups, in.tokens})
      .Shape("probability_grad", probability_grad, {in.groups, in.experts})
      .Shape("z_grad", z_grad, {in.groups})
      .Shape("logits_grad", *logits_grad, {in.groups, in.tokens, in.experts});
  if (check.Failed()) return check.Error();
  args.expert_index = expert_index.typed_data();
  args.gate = gate.typed_data();
  args.gate_grad = gate_grad.typed_data();
  args.probability_grad = probability_grad.typed_data();
  args.z_grad = z_grad.typed_data();
  args.logits_grad = logits_grad->typed_data();
  SwitchRouteBackward(args, Pool(threads));
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(SwitchRouteForwardHandler, Forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats<3>>()
                                  .Arg<Bools<2>>()
                                  .Ret<Ints<2>>()
                                  .Ret<Ints<2>>()
                                  .Ret<Floats<2>>()
                                  .Ret<Ints<2>>()
                                  .Ret<Floats<2>>()
                                  .Ret<Floats<2>>()
                                  .Ret<Floats<1>>()
                                  .Attr<int64_t>("capacity"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(SwitchRouteBackwardHandler, Backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats<3>>()
                                  .Arg<Bools<2>>()
                                  .Arg<Ints<2>>()
                                  .Arg<Floats<2>>()
                                  .Arg<Floats<2>>()
                                  .Arg<Floats<2>>()
                                  .Arg<Floats<1>>()
                                  .Ret<Floats<3>>());

}  // namespace clinometer
