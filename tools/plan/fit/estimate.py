"""Rough estimates of a candidate's memory and time, to choose what to compile.

They are sums over the arrays that a Transformer keeps for its backward pass, whatever
the architecture. They decide only which candidates are compiled and in which order.
"""

import dataclasses

from clinometer import models
from clinometer.models.counting import checked
from clinometer.tools.plan import machines
from clinometer.tools.plan.fit import meshes
from clinometer.train.sharding import mesh as mesh_lib

_FLOAT32 = 4
_EFFICIENCY = 0.4  # Of the peak; only the order of candidates depends on it.
# What recomputation adds to the three passes of a step, as a factor.
_RECOMPUTED = {"none": 1.0, "dots": 1.1, "layer": 4 / 3}


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A way to run a step.

    Attributes:
        mesh: the mesh.
        remat: policy of rematerialization.
        num_microbatches: number of microbatches.
    """

    mesh: meshes.Mesh
    remat: str
    num_microbatches: int


@dataclasses.dataclass(frozen=True)
class Shape:
    """The numbers of a model and its batch on which the estimates depend.

    Attributes:
        batch_size: B.
        encoder_length: S.
        decoder_length: T.
        d_model: width.
        d_ff: width of feed-forward layers.
        attention: num_heads * d_kv.
        num_heads: number of heads.
        encoder_layers: number of layers of the encoder.
        decoder_layers: number of layers of the decoder.
        vocab_size: V.
        itemsize: bytes of an activation.
        kernels: whether attention runs as a kernel, which keeps no [S, S] arrays.
        flops: FLOPs of a step, over all devices.
    """

    batch_size: int
    encoder_length: int
    decoder_length: int
    d_model: int
    d_ff: int
    attention: int
    num_heads: int
    encoder_layers: int
    decoder_layers: int
    vocab_size: int
    itemsize: int
    kernels: bool
    flops: float


def shape_of(
    config: models.TransformerConfig,
    counts: checked.TransformerCounts,
    *,
    kernels: bool,
) -> Shape:
    """Returns the numbers of a model.

    Args:
        config: the model's config.
        counts: its counts at the batch.
        kernels: whether attention runs as a kernel.
    """
    return Shape(
        batch_size=counts.batch_size,
        encoder_length=counts.encoder_length,
        decoder_length=counts.decoder_length,
        d_model=config.d_model,
        d_ff=config.d_ff,
        attention=config.num_heads * config.d_kv,
        num_heads=config.num_heads,
        encoder_layers=config.num_encoder_layers,
        decoder_layers=config.num_decoder_layers,
        vocab_size=config.vocab_size,
        itemsize=2 if config.dtype == "bfloat16" else _FLOAT32,
        kernels=kernels,
        flops=counts.flops_train_step,
    )


def memory(candidate: Candidate, shape: Shape) -> float:
    """Returns bytes of a device: state, gradients, saved activations and logits.

    Args:
        candidate: the way to run the step.
        shape: the numbers of the model and the batch.
    """
    sizes = candidate.mesh.sizes
    rows = shape.batch_size / (candidate.num_microbatches * sizes.batch_parts)
    lengths = {"encoder": shape.encoder_length, "decoder": shape.decoder_length}
    layers = {"encoder": shape.encoder_layers, "decoder": shape.decoder_layers}
    saved = sum(
        layers[part] * rows * _layer(candidate, shape, length)
        for part, length in lengths.items()
    )
    logits = rows * shape.decoder_length * shape.vocab_size / sizes.model * _FLOAT32
    return candidate.mesh.state_bytes + candidate.mesh.param_bytes + saved + 2 * logits


def seconds(candidate: Candidate, shape: Shape, machine: machines.Machine) -> float:
    """Returns a time of a step, by which candidates are ordered.

    Args:
        candidate: the way to run the step.
        shape: the numbers of the model and the batch.
        machine: the chip.
    """
    sizes = candidate.mesh.sizes
    flops = shape.flops * _RECOMPUTED[candidate.remat] / sizes.devices
    compute = flops / (machine.peak_flops_per_second * _EFFICIENCY)
    share = machine.link_bytes_per_second / machine.cores
    return compute + _wire_bytes(candidate, shape, sizes) / share


def _layer(candidate: Candidate, shape: Shape, length: int) -> float:
    """Returns bytes that a layer saves for the backward pass, for one row."""
    residual = length * shape.d_model * _FLOAT32
    if candidate.remat == "layer":
        return residual
    parts = candidate.mesh.sizes.model
    wide = 4 * shape.attention + 2 * shape.d_ff
    products = length * wide / parts * shape.itemsize
    if candidate.remat == "dots" or shape.kernels:
        return 2 * residual + products
    # Logits and probabilities of attention.
    squares = 3 * shape.num_heads * length**2 / parts * shape.itemsize
    return 2 * residual + products + squares


def _wire_bytes(candidate: Candidate, shape: Shape, sizes: mesh_lib.Sizes) -> float:
    """Returns bytes that a device sends: gradients, parameters and activations."""
    gradients = candidate.mesh.param_bytes
    sent = 2 * gradients * _ring(sizes.data)
    # Parameters are gathered in both passes, their gradients scattered.
    sent += (2 * candidate.num_microbatches + 1) * (
        gradients * sizes.fsdp * _ring(sizes.fsdp)
    )
    rows = shape.batch_size / sizes.batch_parts
    tokens = rows * shape.d_model * shape.itemsize
    # Attention and feed-forward, in both passes; the decoder has two attentions.
    encoder = 4 * shape.encoder_layers * shape.encoder_length
    decoder = 6 * shape.decoder_layers * shape.decoder_length
    sent += 2 * _ring(sizes.model) * tokens * (encoder + decoder)
    # Tokens go to their experts and back, in both passes.
    exchanged = shape.encoder_layers * shape.encoder_length
    exchanged += shape.decoder_layers * shape.decoder_length
    return sent + 4 * _ring(sizes.expert) * tokens * exchanged


def _ring(devices: int) -> float:
    return (devices - 1) / devices
