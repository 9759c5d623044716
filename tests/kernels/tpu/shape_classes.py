"""Shapes at which a TPU kernel takes another code path; all must compile.

Lengths that fill no block, of one position, and past the long kernels' bounds; heads
that fill no tile of lanes, and that need several; masks, crossed lengths, few and many
taps.
"""

from collections.abc import Iterator
import functools

from clinometer.tools.plan.tpu_cost import cases as cases_lib
from clinometer.tools.plan.tpu_cost.case import CostCase


def cases() -> list[CostCase]:
    """Returns forward and backward of every shape class."""
    return [
        *_attention(),
        *_performer(),
        *_convolutions(),
        *_switch(),
        *_mixture(),
    ]


def _attention() -> Iterator[CostCase]:
    attention = cases_lib.attention
    yield from attention(8, 512, 8, 64, causal=False)
    yield from attention(8, 512, 8, 64, causal=True)
    yield from attention(1, 2048, 8, 64, causal=False)
    yield from attention(1, 4096, 2, 64, causal=True)
    yield from attention(2, 200, 3, 24, causal=True, masked=True)
    yield from attention(1, 127, 1, 128, causal=False, masked=True)
    yield from attention(1, 64, 2, 160, causal=False)
    yield from attention(1, 1, 2, 32, causal=True)
    yield from attention(
        2, 114, 8, 64, causal=False, num_keys=512, biased=False, masked=True
    )
    yield from attention(1, 600, 2, 64, causal=False, num_keys=2500, biased=False)
    yield from attention(2, 1, 8, 64, causal=True, num_keys=130)


def _performer() -> Iterator[CostCase]:
    performer = cases_lib.performer
    yield from performer(8, 512, 8, 64, causal=True)
    yield from performer(1, 2500, 2, 64, causal=True)
    yield from performer(2, 200, 3, 24, causal=True, masked=True)
    yield from performer(1, 127, 1, 128, causal=True)
    yield from performer(1, 1, 2, 32, causal=True)
    yield from performer(2, 200, 8, 64, causal=False, masked=True)


def _convolutions() -> Iterator[CostCase]:
    for convolution in (cases_lib.light_conv, cases_lib.dynamic_conv):
        yield from convolution(8, 512, 512, 8, 31)
        yield from convolution(8, 512, 512, 8, 7)
        yield from convolution(2, 200, 96, 4, 3, causal=False)
        yield from convolution(1, 7, 64, 1, 31)
        yield from convolution(1, 1500, 256, 16, 63, causal=False)
        yield from convolution(1, 64, 24, 24, 5)


def _switch() -> Iterator[CostCase]:
    yield from cases_lib.switch(4096, 32, 512, 2048)
    feed_forward = cases_lib.expert_feed_forward
    yield from feed_forward(4, 1024, 4, 40, 512, 2048)
    yield from feed_forward(2, 70, 3, 29, 24, 40)
    yield from feed_forward(1, 512, 2, 160, 1024, 4096)
    route = functools.partial(cases_lib.route, dtype=None)
    yield from route(8, 512, 32, 20, masked=True)
    yield from route(1, 7, 1, 7)
    yield from route(2, 130, 37, 4)
    yield from route(1, 16384, 128, 160)


def _mixture() -> Iterator[CostCase]:
    mixture = cases_lib.mixture
    yield from mixture(8, 5, 128, 3, 2500)
    yield from mixture(1, 1, 24, 2, 48)
    yield from mixture(8, 6, 768, 15, 32128)
    yield from mixture(3, 11, 160, 4, 1000)
