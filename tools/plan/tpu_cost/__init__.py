"""Implements `clinometer tpu-cost`: the cost of each kernel on TPUs."""
