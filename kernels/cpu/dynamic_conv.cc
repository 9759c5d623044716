#include "kernels/cpu/dynamic_conv.h"

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/check.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {
namespace {

namespace ffi = ::xla::ffi;

template <int rank>
using Floats = ffi::Buffer<ffi::F32, rank>;
template <int rank>
using FloatResult = ffi::Result<Floats<rank>>;

DynamicConvInputs Inputs(Floats<3> x, Floats<4> weights, Floats<3> result,
                         bool causal) {
  DynamicConvInputs in;
  in.batch = result.dimensions()[0];
  in.length = x.dimensions()[1];
  in.channels = x.dimensions()[2];
  in.heads = weights.dimensions()[2];
  in.taps = weights.dimensions()[3];
  in.pad_left = causal ? in.taps - 1 : (in.taps - 1) / 2;
  in.x = x.typed_data();
  in.x_stride = ExampleStride(x);
  in.weights = weights.typed_data();
  in.weights_stride = ExampleStride(weights);
  return in;
}

Check CheckInputs(const DynamicConvInputs& in, Floats<3> x, Floats<4> weights,
                  bool causal) {
  Check check("dynamic_conv");
  check
      .That(in.length > 0 && in.channels > 0 && in.heads > 0,
            "x and weights must have no empty axis")
      .That(in.taps > 0 && (causal || in.taps % 2 == 1),
            "weights must have a tap, and an odd number unless causal")
      .That(in.channels % std::max<int64_t>(in.heads, 1) == 0,
            "the heads of weights must divide the channels of x")
      .SharedShape("x", x, {in.batch, in.length, in.channels})
      .SharedShape("weights", weights,
                   {in.batch, in.length, in.heads, in.taps});
  return check;
}

ffi::Error Forward(ffi::ThreadPool threads, Floats<3> x, Floats<4> weights,
                   FloatResult<3> output, bool causal) {
  DynamicConvForwardArgs args;
  args.inputs = Inputs(x, weights, *output, causal);
  const DynamicConvInputs& in = args.inputs;
  Check check = CheckInputs(in, x, weights, causal);
  check.Shape("output", *output, {in.batch, in.length, in.channels});
  if (check.Failed()) return check.Error();
  args.output = output->typed_data();
  DynamicConvForward(args, Pool(threads));
  return ffi::Error::Success();
}

ffi::Error Backward(ffi::ThreadPool threads, Floats<3> x, Floats<4> weights,
                    Floats<3> output_grad, FloatResult<3> x_grad,
                    FloatResult<4> weights_grad, bool causal) {
  DynamicConvBackwardArgs args;
  args.inputs = Inputs(x, weights, *x_grad, causal);
  const DynamicConvInputs& in = args.inputs;
  Check check = CheckInputs(in, x, weights, causal);
  check
      .SharedShape("output_grad", output_grad,
                   {in.batch, in.length, in.channels})
      .Shape("x_grad", *x_grad, {in.batch, in.length, in.channels})
      .Shape("weights_grad", *weights_grad,
             {in.batch, in.length, in.heads, in.taps});
  if (check.Failed()) return check.Error();
  args.output_grad = output_grad.typed_data();
  args.output_grad_stride = ExampleStride(output_grad);
  args.x_grad = x_grad->typed_data();
  args.weights_grad = weights_grad->typed_data();
  DynamicConvBackward(args, Pool(threads));
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(DynamicConvForwardHandler, Forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats<3>>()
                                  .Arg<Floats<4>>()
                                  .Ret<Floats<3>>()
                                  .Attr<bool>("causal"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(DynamicConvBackwardHandler, Backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats<3>>()
                                  .Arg<Floats<4>>()
                                  .Arg<Floats<3>>()
                                  .Ret<Floats<3>>()
                                  .Ret<Floats<4>>()
                                  .Attr<bool>("causal"));

}  // namespace clinometer
