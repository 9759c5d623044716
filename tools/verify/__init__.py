"""Compares a run with the scores that were published for its model."""
