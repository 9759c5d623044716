"""Answers which architecture to train for a budget of training FLOPs."""
