"""The named model sizes: those of T5, and four smaller ones for laptops."""

from collections.abc import Mapping
import dataclasses


@dataclasses.dataclass(frozen=True)
class Size:
    """Shape of a model before any scaling operator is applied.

    Attributes:
        num_layers: number of layers in the encoder, and in the decoder.
        d_model: width of the residual stream.
        d_ff: hidden width of the feed-forward sublayers.
        num_heads: number of attention heads.
        d_kv: width of each head.
        code: short name in the style of Tay et al. 2021, e.g. "SM".
        aliases: other accepted names.
    """

    num_layers: int
    d_model: int
    d_ff: int
    num_heads: int
    d_kv: int
    code: str
    aliases: tuple[str, ...] = ()


# tiny to xxxl are those of Table 1 of Tay et al. 2021, but with d_kv = 64 up to small,
# which the published parameter counts need (ARCHITECTURES.md#sizes). pico to milli are
# additions for laptops.
SIZES = {
    "pico": Size(2, 32, 128, 2, 16, "PI"),
    "nano": Size(2, 48, 192, 3, 16, "NA"),
    "micro": Size(2, 96, 384, 6, 16, "MC"),
    "milli": Size(2, 128, 512, 8, 16, "ML"),
    "tiny": Size(4, 256, 1024, 4, 64, "TI"),
    "mini": Size(4, 384, 1536, 8, 64, "MI"),
    "small": Size(6, 512, 2048, 8, 64, "SM"),
    "base": Size(12, 768, 3072, 12, 64, "BA"),
    "large": Size(24, 1024, 4096, 16, 64, "LG"),
    "xl": Size(24, 1024, 16384, 32, 128, "XL", ("3b",)),
    "xxl": Size(24, 1024, 65536, 128, 128, "XXL", ("11b",)),
    "xxxl": Size(28, 1280, 131072, 256, 128, "XXXL"),
}

# The sizes whose d_kv Table 1 of Tay et al. 2021 prints as 32.
PRINTED_KV32 = ("tiny", "mini", "small")


def names(table: Mapping[str, Size]) -> dict[str, str]:
    """Returns the accepted names of sizes, in lower case, with the key of each.

    Args:
        table: the sizes.
    """
    return {
        alias.lower(): name
        for name, size in table.items()
        for alias in (name, size.code, *size.aliases)
    }


NAMES = names(SIZES)
