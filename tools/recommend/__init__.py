"""Answers which architecture to train for a budget."""
