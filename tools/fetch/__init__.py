"""Implements `clinometer fetch`: the public releases of tasks and corpora."""
