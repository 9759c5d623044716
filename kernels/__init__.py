"""Fast operations behind one API; they import nothing else of Clinometer."""

from clinometer.kernels.relative_attention import relative_position_bucket

__all__ = ["relative_position_bucket"]
