// The Python extension module: hands the handlers to jax.ffi, nothing else.

#include <pybind11/pybind11.h>

#include "kernels/cpu/relative_position_bucket.h"
#include "xla/ffi/api/ffi.h"

namespace clinometer {
namespace {

namespace py = ::pybind11;

// A capsule as jax.ffi.register_ffi_target takes it.
py::capsule Handler(XLA_FFI_Handler* handler) {
  return py::capsule(reinterpret_cast<void*>(handler));
}

py::dict Handlers() {
  py::dict handlers;
  handlers["relative_position_bucket"] = Handler(RelativePositionBucket);
  return handlers;
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() = "CPU kernels as XLA FFI handlers; use through native.py.";
  module.def("handlers", &Handlers,
             "Returns each operation's name and handler capsule.");
  // The interface version of the headers this file was compiled with.
  module.attr("FFI_API_VERSION") =
      py::make_tuple(XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR);
}

}  // namespace clinometer
