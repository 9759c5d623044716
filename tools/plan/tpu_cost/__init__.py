"""Costs of each kernel on a TPU: `clinometer tpu-cost`."""
