"""Attention with T5's relative position bias."""

from clinometer.kernels.relative_attention.api import relative_attention
from clinometer.kernels.relative_attention.blocks import AttentionBlocks
from clinometer.kernels.relative_attention.buckets import MAX_DISTANCE
from clinometer.kernels.relative_attention.buckets import NUM_BUCKETS
from clinometer.kernels.relative_attention.buckets import relative_position_bucket

__all__ = [
    "AttentionBlocks",
    "MAX_DISTANCE",
    "NUM_BUCKETS",
    "relative_attention",
    "relative_position_bucket",
]
