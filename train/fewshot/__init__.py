"""Few-shot linear evaluation of the features of images."""
