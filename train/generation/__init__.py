"""Decodes texts from trained runs."""
