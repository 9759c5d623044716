"""Labelled images: sets of files, decoding, augmentation and batches."""
