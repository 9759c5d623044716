#include "kernels/cpu/relative_attention.h"

#include <cstdint>

#include "kernels/cpu/buffers.h"
#include "kernels/cpu/check.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {
namespace {

namespace ffi = ::xla::ffi;

// Operands and results of heads: float32 or bfloat16.
template <ffi::DataType kType>
using Numbers = ffi::Buffer<kType, 4>;
template <ffi::DataType kType>
using NumbersResult = ffi::Result<Numbers<kType>>;
template <ffi::DataType kType>
using Number = ffi::NativeType<kType>;

template <ffi::DataType kType>
RelativeAttentionInputsOf<Number<kType>> Inputs(
    Numbers<kType> query, Numbers<kType> key, Numbers<kType> value,
    Floats<3> bias, Ints<2> query_segments, Ints<2> key_segments,
    Ints<1> offset, bool causal, bool masked) {
  RelativeAttentionInputsOf<Number<kType>> in;
  in.batch = query.dimensions()[0];
  in.query_length = query.dimensions()[1];
  in.key_length = key.dimensions()[1];
  in.heads = query.dimensions()[2];
  in.width = query.dimensions()[3];
  in.causal = causal;
  in.masked = masked;
  in.query = query.typed_data();
  in.key = key.typed_data();
  in.value = value.typed_data();
  in.bias = bias.dimensions()[2] == 0 ? nullptr : bias.typed_data();
  in.bias_stride = ExampleStride(bias);
  in.query_segments = query_segments.typed_data();
  in.query_segments_stride = ExampleStride(query_segments);
  in.key_segments = key_segments.typed_data();
  in.key_segments_stride = ExampleStride(key_segments);
  in.offset = offset.typed_data();
  in.offset_stride = ExampleStride(offset);
  return in;
}

template <ffi::DataType kType>
Check CheckInputs(const RelativeAttentionInputsOf<Number<kType>>& in,
                  Numbers<kType> key, Numbers<kType> value, Floats<3> bias,
                  Ints<2> query_segments, Ints<2> key_segments,
                  Ints<1> offset) {
  Check check("relative_attention");
  check
      .That(kType == ffi::F32 || MultipliesBfloat16(),
            "compiled for a processor that multiplies bfloat16")
      .That(in.query_length > 0 && in.key_length > 0,
            "query and key must hold at least one position")
      .Shape("key", key, {in.batch, in.key_length, in.heads, in.width})
      .Shape("value", value, {in.batch, in.key_length, in.heads, in.width})
      .SharedShape("query_segments", query_segments,
                   {in.batch, in.query_length})
      .SharedShape("key_segments", key_segments, {in.batch, in.key_length})
      .SharedShape("offset", offset, {in.batch});
  if (in.bias != nullptr) {
    check.SharedShape(
        "bias", bias,
        {in.batch, in.heads, in.query_length + in.key_length - 1});
  }
  return check;
}

template <ffi::DataType kType>
ffi::Error Forward(ffi::ThreadPool threads, Numbers<kType> query,
                   Numbers<kType> key, Numbers<kType> value, Floats<3> bias,
                   Ints<2> query_segments, Ints<2> key_segments, Ints<1> offset,
                   NumbersResult<kType> output, FloatResult<3> log_sum_exp,
                   bool causal, bool masked) {
  RelativeAttentionForwardArgsOf<Number<kType>> args;
  args.inputs = Inputs<kType>(query, key, value, bias, query_segments,
                              key_segments, offset, causal, masked);
  const auto& in = args.inputs;
  Check check = CheckInputs<kType>(in, key, value, bias, query_segments,
                                   key_segments, offset);
  check
      .Shape("output", *output, {in.batch, in.query_length, in.heads, in.width})
      .Shape("log_sum_exp", *log_sum_exp,
             {in.batch, in.heads, in.query_length});
  if (check.Failed()) return check.Error();
  args.output = output->typed_data();
  args.log_sum_exp = log_sum_exp->typed_data();
  RelativeAttentionForward(args, Pool(threads));
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error Backward(ffi::ThreadPool threads, Numbers<kType> query,
                    Numbers<kType> key, Numbers<kType> value, Floats<3> bias,
                    Ints<2> query_segments, Ints<2> key_segments,
                    Ints<1> offset, Numbers<kType> output,
                    Floats<3> log_sum_exp, Numbers<kType> output_grad,
                    NumbersResult<kType> query_grad,
                    NumbersResult<kType> key_grad,
                    NumbersResult<kType> value_grad, FloatResult<3> bias_grad,
                    bool causal, bool masked) {
  RelativeAttentionBackwardArgsOf<Number<kType>> args;
  args.inputs = Inputs<kType>(query, key, value, bias, query_segments,
                              key_segments, offset, causal, masked);
  const auto& in = args.inputs;
  Check check = CheckInputs<kType>(in, key, value, bias, query_segments,
                                   key_segments, offset);
  const int64_t b = in.batch, t = in.query_length, s = in.key_length;
  check.Shape("output", output, {b, t, in.heads, in.width})
      .Shape("log_sum_exp", log_sum_exp, {b, in.heads, t})
      .Shape("output_grad", output_grad, {b, t, in.heads, in.width})
      .Shape("query_grad", *query_grad, {b, t, in.heads, in.width})
      .Shape("key_grad", *key_grad, {b, s, in.heads, in.width})
      .Shape("value_grad", *value_grad, {b, s, in.heads, in.width})
      .Shape("bias_grad", *bias_grad, {b, in.heads, bias.dimensions()[2]});
  if (check.Failed()) return check.Error();
  args.output = output.typed_data();
  args.log_sum_exp = log_sum_exp.typed_data();
  args.output_grad = output_grad.typed_data();
  args.query_grad = query_grad->typed_data();
  args.key_grad = key_grad->typed_data();
  args.value_grad = value_grad->typed_data();
  args.bias_grad = in.bias == nullptr ? nullptr : bias_grad->typed_data();
  RelativeAttentionBackward(args, Pool(threads));
  return ffi::Error::Success();
}

template <ffi::DataType kType>
auto BindForward() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .template Arg<Numbers<kType>>()
      .template Arg<Numbers<kType>>()
      .template Arg<Numbers<kType>>()
      .template Arg<Floats<3>>()
      .template Arg<Ints<2>>()
      .template Arg<Ints<2>>()
      .template Arg<Ints<1>>()
      .template Ret<Numbers<kType>>()
      .template Ret<Floats<3>>()
      .template Attr<bool>("causal")
      .template Attr<bool>("masked");
}

template <ffi::DataType kType>
auto BindBackward() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .template Arg<Numbers<kType>>()
      .template Arg<Numbers<kType>>()
      .template Arg<Numbers<kType>>()
      .template Arg<Floats<3>>()
      .template Arg<Ints<2>>()
      .template Arg<Ints<2>>()
      .template Arg<Ints<1>>()
      .template Arg<Numbers<kType>>()
      .template Arg<Floats<3>>()
      .template Arg<Numbers<kType>>()
      .template Ret<Numbers<kType>>()
      .template Ret<Numbers<kType>>()
      .template Ret<Numbers<kType>>()
      .template Ret<Floats<3>>()
      .template Attr<bool>("causal")
      .template Attr<bool>("masked");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(RelativeAttentionForwardHandler,
                              Forward<ffi::F32>, BindForward<ffi::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(RelativeAttentionBackwardHandler,
                              Backward<ffi::F32>, BindBackward<ffi::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(RelativeAttentionForwardOfBfloat16Handler,
                              Forward<ffi::BF16>, BindForward<ffi::BF16>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(RelativeAttentionBackwardOfBfloat16Handler,
                              Backward<ffi::BF16>, BindBackward<ffi::BF16>());

}  // namespace clinometer
