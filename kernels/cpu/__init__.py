"""Native CPU kernels: a C++ extension called through XLA's FFI."""
