"""One file for each architecture, and how architectures are named and built."""
