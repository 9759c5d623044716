"""What the Pallas TPU kernels share."""
