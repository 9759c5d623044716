"""`clinometer bench`: how fast the kernels are, against plain jnp and PyTorch."""
