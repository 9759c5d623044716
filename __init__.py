"""Clinometer measures how Transformer-like architectures scale."""

__version__ = "0.1.0"
