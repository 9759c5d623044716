"""Compiles programs for TPUs, without a TPU, and reads the compiler's output."""
