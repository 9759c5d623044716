#include "kernels/cpu/switch_rows.h"

#include <cstdint>
#include <vector>

#include "kernels/cpu/buffers.h"
#include "kernels/cpu/check.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {
namespace {

namespace ffi = ::xla::ffi;

// Of token rows [G, N, d] and slot rows [G, E, C, d].
SwitchRowsShape Shape(Floats<3> token_rows, Ints<2> slot, Floats<4> slot_rows) {
  SwitchRowsShape shape;
  shape.groups = token_rows.dimensions()[0];
  shape.tokens = token_rows.dimensions()[1];
  shape.slots = slot_rows.dimensions()[1] * slot_rows.dimensions()[2];
  shape.width = token_rows.dimensions()[2];
  shape.slot = slot.typed_data();
  return shape;
}

Check CheckRows(const char* op, const SwitchRowsShape& shape, Ints<2> slot,
                Floats<4> slot_rows) {
  Check check(op);
  const auto dimensions = slot_rows.dimensions();
  check.Shape("slot", slot, {shape.groups, shape.tokens})
      .Shape("rows of the slots", slot_rows,
             {shape.groups, dimensions[1], dimensions[2], shape.width});
  return check;
}

ffi::Error Dispatch(ffi::ThreadPool threads, Floats<3> x, Ints<2> slot,
                    FloatResult<4> y, int64_t num_experts, int64_t capacity) {
  SwitchDispatchArgs args;
  args.shape = Shape(x, slot, *y);
  Check check = CheckRows("switch_dispatch", args.shape, slot, *y);
  check.Shape("y", *y,
              {args.shape.groups, num_experts, capacity, args.shape.width});
  if (check.Failed()) return check.Error();
  std::vector<int32_t> token(args.shape.groups * args.shape.slots);
  args.token_rows = x.typed_data();
  args.gate = nullptr;
  args.slot_rows = y->typed_data();
  args.combined = nullptr;
  args.gate_grad = nullptr;
  args.token = token.data();
  SwitchDispatch(args, Pool(threads));
  return ffi::Error::Success();
}

ffi::Error Combine(ffi::ThreadPool threads, Floats<4> y, Ints<2> slot,
                   Floats<2> gate, FloatResult<3> output) {
  SwitchCombineArgs args;
  args.shape = Shape(*output, slot, y);
  Check check = CheckRows("switch_combine", args.shape, slot, y);
  check.SharedShape("gate", gate, {args.shape.groups, args.shape.tokens});
  if (check.Failed()) return check.Error();
  args.slot_rows = y.typed_data();
  args.gate = gate.typed_data();
  args.gate_stride = ExampleStride(gate);
  args.token_rows = output->typed_data();
  SwitchCombine(args, Pool(threads));
  return ffi::Error::Success();
}

ffi::Error CombineBackward(ffi::ThreadPool threads, Floats<4> y, Ints<2> slot,
                           Floats<2> gate, Floats<3> output_grad,
                           FloatResult<4> y_grad, FloatResult<2> gate_grad) {
  SwitchDispatchArgs args;
  args.shape = Shape(output_grad, slot, y);
  Check check = CheckRows("switch_combine", args.shape, slot, y);
  const auto dimensions = y.dimensions();
  check.Shape("gate", gate, {args.shape.groups, args.shape.tokens})
      .Shape("y_grad", *y_grad,
             {dimensions[0], dimensions[1], dimensions[2], dimensions[3]})
      .Shape("gate_grad", *gate_grad, {args.shape.groups, args.shape.tokens});
  if (check.Failed()) return check.Error();
  std::vector<int32_t> token(args.shape.groups * args.shape.slots);
  args.token_rows = output_grad.typed_data();
  args.gate = gate.typed_data();
  args.slot_rows = y_grad->typed_data();
  args.combined = y.typed_data();
  args.gate_grad = gate_grad->typed_data();
  args.token = token.data();
  SwitchDispatch(args, Pool(threads));
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(SwitchDispatchHandler, Dispatch,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats<3>>()
                                  .Arg<Ints<2>>()
                                  .Ret<Floats<4>>()
                                  .Attr<int64_t>("num_experts")
                                  .Attr<int64_t>("capacity"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(SwitchCombineHandler, Combine,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats<4>>()
                                  .Arg<Ints<2>>()
                                  .Arg<Floats<2>>()
                                  .Ret<Floats<3>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(SwitchCombineBackwardHandler, CombineBackward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats<4>>()
                                  .Arg<Ints<2>>()
                                  .Arg<Floats<2>>()
                                  .Arg<Floats<3>>()
                                  .Ret<Floats<4>>()
                                  .Ret<Floats<2>>());

}  // namespace clinometer
