"""`clinometer tpu-cost`: what the TPU compiler says of the kernels, without a TPU."""
