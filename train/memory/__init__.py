"""What fits in the memory of a device: the size of microbatches, and advice."""
