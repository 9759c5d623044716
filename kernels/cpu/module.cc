// The Python extension module, which only exposes the handlers to jax.ffi.

#include <pybind11/pybind11.h>

#include "kernels/cpu/convolution.h"
#include "kernels/cpu/expert_matmul.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/performer_attention.h"
#include "kernels/cpu/relative_attention.h"
#include "kernels/cpu/switch_route.h"
#include "kernels/cpu/switch_rows.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {
namespace {

namespace py = ::pybind11;

// Returns a capsule for jax.ffi.register_ffi_target.
py::capsule Handler(XLA_FFI_Handler* handler) {
  return py::capsule(reinterpret_cast<void*>(handler));
}

py::dict Handlers() {
  py::dict handlers;
  handlers["dynamic_conv_forward"] = Handler(DynamicConvForwardHandler);
  handlers["dynamic_conv_backward"] = Handler(DynamicConvBackwardHandler);
  handlers["light_conv_forward"] = Handler(LightConvForwardHandler);
  handlers["light_conv_backward"] = Handler(LightConvBackwardHandler);
  handlers["relative_attention_forward"] =
      Handler(RelativeAttentionForwardHandler);
  handlers["relative_attention_backward"] =
      Handler(RelativeAttentionBackwardHandler);
  handlers["relative_attention_forward_of_bfloat16"] =
      Handler(RelativeAttentionForwardOfBfloat16Handler);
  handlers["relative_attention_backward_of_bfloat16"] =
      Handler(RelativeAttentionBackwardOfBfloat16Handler);
  handlers["performer_attention_forward"] =
      Handler(PerformerAttentionForwardHandler);
  handlers["performer_attention_backward"] =
      Handler(PerformerAttentionBackwardHandler);
  handlers["switch_route_forward"] = Handler(SwitchRouteForwardHandler);
  handlers["switch_route_backward"] = Handler(SwitchRouteBackwardHandler);
  handlers["switch_dispatch"] = Handler(SwitchDispatchHandler);
  handlers["switch_combine"] = Handler(SwitchCombineHandler);
  handlers["switch_combine_backward"] = Handler(SwitchCombineBackwardHandler);
  handlers["expert_matmul_forward"] = Handler(ExpertMatmulForwardHandler);
  handlers["expert_matmul_backward"] = Handler(ExpertMatmulBackwardHandler);
  return handlers;
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() = "CPU kernels as XLA FFI handlers; use through native.py.";
  module.def("handlers", &Handlers,
             "Returns each operation's name and handler capsule.");
  module.def(
      "active_isa", [] { return IsaName(ActiveIsa()); },
      "Returns the instruction set in use, as CLINOMETER_CPU_ISA names it.");
  module.def("multiplies_bfloat16", &MultipliesBfloat16,
             "Returns whether that instruction set multiplies bfloat16.");
  module.def("isa_request_error", &IsaRequestError,
             "Returns why CLINOMETER_CPU_ISA cannot be followed, or ''.");
  // The version of XLA's FFI headers that this file was compiled with.
  module.attr("FFI_API_VERSION") =
      py::make_tuple(XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR);
}

}  // namespace clinometer
