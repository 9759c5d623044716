"""Decoding: greedy, beam search, sampling, and ranking of given targets."""

from clinometer.models.decoding.beam import beam_search
from clinometer.models.decoding.beam import length_penalty
from clinometer.models.decoding.cache import row_axes
from clinometer.models.decoding.cache import take_rows
from clinometer.models.decoding.rank import pack_targets
from clinometer.models.decoding.rank import score_targets
from clinometer.models.decoding.restricted import Restricted
from clinometer.models.decoding.runner import DecodingStatistics
from clinometer.models.decoding.runner import Runner
from clinometer.models.decoding.sampling import sample
from clinometer.models.decoding.stepwise import EOS_ID
from clinometer.models.decoding.stepwise import START_ID
from clinometer.models.decoding.stepwise import Decoded
from clinometer.models.decoding.stepwise import generate
from clinometer.models.decoding.stepwise import greedy

__all__ = [
    "EOS_ID",
    "START_ID",
    "Decoded",
    "DecodingStatistics",
    "Restricted",
    "Runner",
    "beam_search",
    "generate",
    "greedy",
    "length_penalty",
    "pack_targets",
    "row_axes",
    "sample",
    "score_targets",
    "take_rows",
]
