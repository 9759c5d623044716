#include "kernels/cpu/convolution.h"

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/buffers.h"
#include "kernels/cpu/check.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {
namespace {

namespace ffi = ::xla::ffi;

// The ranks of the weights, which distinguish the two convolutions.
constexpr int kLight = 3;    // [B, H, K]
constexpr int kDynamic = 4;  // [B, S, H, K]

template <int rank>
ConvolutionInputs Inputs(Floats<3> x, Floats<rank> weights, Floats<3> result,
                         bool causal) {
  ConvolutionInputs in;
  in.batch = result.dimensions()[0];
  in.length = x.dimensions()[1];
  in.channels = x.dimensions()[2];
  in.heads = weights.dimensions()[rank - 2];
  in.taps = weights.dimensions()[rank - 1];
  in.pad_left = causal ? in.taps - 1 : (in.taps - 1) / 2;
  in.x = x.typed_data();
  in.x_stride = ExampleStride(x);
  in.weights = weights.typed_data();
  in.weights_stride = ExampleStride(weights);
  return in;
}

template <int rank>
Check CheckInputs(const ConvolutionInputs& in, Floats<3> x,
                  Floats<rank> weights, bool causal) {
  Check check(rank == kLight ? "light_conv" : "dynamic_conv");
  check
      .That(in.length > 0 && in.channels > 0 && in.heads > 0,
            "x and weights must have no empty axis")
      .That(in.taps > 0 && (causal || in.taps % 2 == 1),
            "weights must have a tap, and an odd number unless causal")
      .That(in.channels % std::max<int64_t>(in.heads, 1) == 0,
            "the heads of weights must divide the channels of x")
      .SharedShape("x", x, {in.batch, in.length, in.channels});
  if constexpr (rank == kLight) {
    check.SharedShape("weights", weights, {in.batch, in.heads, in.taps});
  } else {
    check.SharedShape("weights", weights,
                      {in.batch, in.length, in.heads, in.taps});
  }
  return check;
}

template <int rank>
ffi::Error Forward(ffi::ThreadPool threads, Floats<3> x, Floats<rank> weights,
                   FloatResult<3> output, bool causal) {
  ConvolutionForwardArgs args;
  args.inputs = Inputs<rank>(x, weights, *output, causal);
  const ConvolutionInputs& in = args.inputs;
  Check check = CheckInputs<rank>(in, x, weights, causal);
  check.Shape("output", *output, {in.batch, in.length, in.channels});
  if (check.Failed()) return check.Error();
  args.output = output->typed_data();
  const Pool pool(threads);
  rank == kLight ? LightConvForward(args, pool)
                 : DynamicConvForward(args, pool);
  return ffi::Error::Success();
}

template <int rank>
ffi::Error Backward(ffi::ThreadPool threads, Floats<3> x, Floats<rank> weights,
                    Floats<3> output_grad, FloatResult<3> x_grad,
                    FloatResult<rank> weights_grad, bool causal) {
  ConvolutionBackwardArgs args;
  args.inputs = Inputs<rank>(x, weights, *x_grad, causal);
  const ConvolutionInputs& in = args.inputs;
  Check check = CheckInputs<rank>(in, x, weights, causal);
  check
      .SharedShape("output_grad", output_grad,
                   {in.batch, in.length, in.channels})
      .Shape("x_grad", *x_grad, {in.batch, in.length, in.channels});
  if constexpr (rank == kLight) {
    check.Shape("weights_grad", *weights_grad, {in.batch, in.heads, in.taps});
  } else {
    check.Shape("weights_grad", *weights_grad,
                {in.batch, in.length, in.heads, in.taps});
  }
  if (check.Failed()) return check.Error();
  args.output_grad = output_grad.typed_data();
  args.output_grad_stride = ExampleStride(output_grad);
  args.x_grad = x_grad->typed_data();
  args.weights_grad = weights_grad->typed_data();
  const Pool pool(threads);
  rank == kLight ? LightConvBackward(args, pool)
                 : DynamicConvBackward(args, pool);
  return ffi::Error::Success();
}

template <int rank>
auto ForwardBinding() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Floats<3>>()
      .template Arg<Floats<rank>>()
      .template Ret<Floats<3>>()
      .template Attr<bool>("causal");
}

template <int rank>
auto BackwardBinding() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Floats<3>>()
      .template Arg<Floats<rank>>()
      .template Arg<Floats<3>>()
      .template Ret<Floats<3>>()
      .template Ret<Floats<rank>>()
      .template Attr<bool>("causal");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(LightConvForwardHandler, Forward<kLight>,
                              ForwardBinding<kLight>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(LightConvBackwardHandler, Backward<kLight>,
                              BackwardBinding<kLight>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(DynamicConvForwardHandler, Forward<kDynamic>,
                              ForwardBinding<kDynamic>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(DynamicConvBackwardHandler, Backward<kDynamic>,
                              BackwardBinding<kDynamic>());

}  // namespace clinometer
