"""Span-corrupted rows of a token store, and how they overlap with tasks."""
