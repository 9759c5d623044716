#include "kernels/cpu/performer_attention.h"

#include <cstdint>

#include "kernels/cpu/buffers.h"
#include "kernels/cpu/check.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {
namespace {

namespace ffi = ::xla::ffi;

PerformerAttentionInputs Inputs(Floats<4> query, Floats<4> key, Floats<4> value,
                                Floats<2> mask, bool causal, float epsilon) {
  PerformerAttentionInputs in;
  in.batch = query.dimensions()[0];
  in.query_length = query.dimensions()[1];
  in.key_length = key.dimensions()[1];
  in.heads = query.dimensions()[2];
  in.width = query.dimensions()[3];
  in.causal = causal;
  in.epsilon = epsilon;
  in.query = query.typed_data();
  in.key = key.typed_data();
  in.value = value.typed_data();
  in.mask = mask.dimensions()[1] == 0 ? nullptr : mask.typed_data();
  in.mask_stride = ExampleStride(mask);
  return in;
}

Check CheckInputs(const PerformerAttentionInputs& in, Floats<4> key,
                  Floats<4> value, Floats<2> mask) {
  Check check("performer_attention");
  check
      .That(!in.causal || in.query_length == in.key_length,
            "causal needs as many queries as keys")
      .Shape("key", key, {in.batch, in.key_length, in.heads, in.width})
      .Shape("value", value, {in.batch, in.key_length, in.heads, in.width});
  if (in.mask != nullptr) {
    check.SharedShape("mask", mask, {in.batch, in.key_length});
  }
  return check;
}

ffi::Error Forward(ffi::ThreadPool threads, Floats<4> query, Floats<4> key,
                   Floats<4> value, Floats<2> mask, FloatResult<4> output,
                   FloatResult<3> denominator, bool causal, float epsilon) {
  PerformerAttentionForwardArgs args;
  args.inputs = Inputs(query, key, value, mask, causal, epsilon);
  const PerformerAttentionInputs& in = args.inputs;
  Check check = CheckInputs(in, key, value, mask);
  check
      .Shape("output", *output, {in.batch, in.query_length, in.heads, in.width})
      .Shape("denominator", *denominator,
             {in.batch, in.heads, in.query_length});
  if (check.Failed()) return check.Error();
  args.output = output->typed_data();
  args.denominator = denominator->typed_data();
  PerformerAttentionForward(args, Pool(threads));
  return ffi::Error::Success();
}

ffi::Error Backward(ffi::ThreadPool threads, Floats<4> query, Floats<4> key,
                    Floats<4> value, Floats<2> mask, Floats<4> output,
                    Floats<3> denominator, Floats<4> output_grad,
                    FloatResult<4> query_grad, FloatResult<4> key_grad,
                    FloatResult<4> value_grad, bool causal, float epsilon) {
  PerformerAttentionBackwardArgs args;
  args.inputs = Inputs(query, key, value, mask, causal, epsilon);
  const PerformerAttentionInputs& in = args.inputs;
  const int64_t b = in.batch, t = in.query_length, s = in.key_length;
  Check check = CheckInputs(in, key, value, mask);
  check.Shape("output", output, {b, t, in.heads, in.width})
      .Shape("denominator", denominator, {b, in.heads, t})
      .Shape("output_grad", output_grad, {b, t, in.heads, in.width})
      .Shape("query_grad", *query_grad, {b, t, in.heads, in.width})
      .Shape("key_grad", *key_grad, {b, s, in.heads, in.width})
      .Shape("value_grad", *value_grad, {b, s, in.heads, in.width});
  if (check.Failed()) return check.Error();
  args.output = output.typed_data();
  args.denominator = denominator.typed_data();
  args.output_grad = output_grad.typed_data();
  args.query_grad = query_grad->typed_data();
  args.key_grad = key_grad->typed_data();
  args.value_grad = value_grad->typed_data();
  PerformerAttentionBackward(args, Pool(threads));
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(PerformerAttentionForwardHandler, Forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats<4>>()
                                  .Arg<Floats<4>>()
                                  .Arg<Floats<4>>()
                                  .Arg<Floats<2>>()
                                  .Ret<Floats<4>>()
                                  .Ret<Floats<3>>()
                                  .Attr<bool>("causal")
                                  .Attr<float>("epsilon"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(PerformerAttentionBackwardHandler, Backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats<4>>()
                                  .Arg<Floats<4>>()
                                  .Arg<Floats<4>>()
                                  .Arg<Floats<2>>()
                                  .Arg<Floats<4>>()
                                  .Arg<Floats<3>>()
                                  .Arg<Floats<4>>()
                                  .Ret<Floats<4>>()
                                  .Ret<Floats<4>>()
                                  .Ret<Floats<4>>()
                                  .Attr<bool>("causal")
                                  .Attr<float>("epsilon"));

}  // namespace clinometer
