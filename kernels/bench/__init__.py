"""`clinometer bench`: benchmarks of the kernels against plain jnp and PyTorch."""
