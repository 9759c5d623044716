#include "kernels/cpu/expert_matmul.h"

#include <cstdint>

#include "kernels/cpu/buffers.h"
#include "kernels/cpu/check.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {
namespace {

namespace ffi = ::xla::ffi;

ExpertMatmulInputs Inputs(Floats<4> x, Floats<4> w, Ints<2> counts) {
  ExpertMatmulInputs in;
  in.batch = x.dimensions()[0];
  in.experts = x.dimensions()[1];
  in.capacity = x.dimensions()[2];
  in.input_width = x.dimensions()[3];
  in.output_width = w.dimensions()[3];
  in.x = x.typed_data();
  in.w = w.typed_data();
  in.w_stride = ExampleStride(w);
  in.counts = counts.typed_data();
  in.counts_stride = ExampleStride(counts);
  return in;
}

Check CheckInputs(const ExpertMatmulInputs& in, Floats<4> w, Ints<2> counts) {
  Check check("expert_matmul");
  check.That(in.input_width > 0, "x must be at least one wide")
      .SharedShape("w", w,
                   {in.batch, in.experts, in.input_width, in.output_width})
      .SharedShape("counts", counts, {in.batch, in.experts});
  return check;
}

ffi::Error Forward(ffi::ThreadPool threads, Floats<4> x, Floats<4> w,
                   Ints<2> counts, FloatResult<4> y) {
  ExpertMatmulForwardArgs args;
  args.inputs = Inputs(x, w, counts);
  const ExpertMatmulInputs& in = args.inputs;
  Check check = CheckInputs(in, w, counts);
  check.Shape("y", *y, {in.batch, in.experts, in.capacity, in.output_width});
  if (check.Failed()) return check.Error();
  args.y = y->typed_data();
  ExpertMatmulForward(args, Pool(threads));
  return ffi::Error::Success();
}

ffi::Error Backward(ffi::ThreadPool threads, Floats<4> x, Floats<4> w,
                    Ints<2> counts, Floats<4> y_grad, FloatResult<4> x_grad,
                    FloatResult<4> w_grad) {
  ExpertMatmulBackwardArgs args;
  args.inputs = Inputs(x, w, counts);
  const ExpertMatmulInputs& in = args.inputs;
  args.w_groups = w_grad->dimensions()[0];
  Check check = CheckInputs(in, w, counts);
  check
      .That(args.w_groups > 0 && in.batch % args.w_groups == 0,
            "the groups of w_grad must divide the batch")
      .Shape("y_grad", y_grad,
             {in.batch, in.experts, in.capacity, in.output_width})
      .Shape("x_grad", *x_grad,
             {in.batch, in.experts, in.capacity, in.input_width})
      .Shape("w_grad", *w_grad,
             {args.w_groups, in.experts, in.input_width, in.output_width});
  if (check.Failed()) return check.Error();
  args.y_grad = y_grad.typed_data();
  args.x_grad = x_grad->typed_data();
  args.w_grad = w_grad->typed_data();
  ExpertMatmulBackward(args, Pool(threads));
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(ExpertMatmulForwardHandler, Forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats<4>>()
                                  .Arg<Floats<4>>()
                                  .Arg<Ints<2>>()
                                  .Ret<Floats<4>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(ExpertMatmulBackwardHandler, Backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats<4>>()
                                  .Arg<Floats<4>>()
                                  .Arg<Ints<2>>()
                                  .Arg<Floats<4>>()
                                  .Ret<Floats<4>>()
                                  .Ret<Floats<4>>());

}  // namespace clinometer
