"""Mixtures of tasks, and their tokenised batches."""
