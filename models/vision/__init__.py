"""Vision Transformers, classifiers of images."""
