"""Reads documents from files, archives and the embedded corpus."""
