"""Native CPU kernels: a C++ extension called through XLA's foreign function interface."""
