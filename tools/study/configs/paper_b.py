"""The experiments of Tay et al. 2021: shapes of the vanilla Transformer.

`paper_b.py` declares them as published, `paper_b.py:laptop` a version with the same
parts for two cores. What could not be recovered of the paper is a choice: most values
of the operators in its Figures 2 to 4 and 7 to 9, and most depths in Figures 1, 5 and
6.
"""

from ml_collections import config_dict

from clinometer.tools.study.configs import papers

TABLE_1 = ("tiny", "mini", "small", "base", "large", "xl", "xxl", "xxxl")
TABLE_3 = ("NL12-XXL", "NL32-XL")
# With sizes of Table 1. All but the 32 encoder layers are DeepNarrow.
TABLE_4 = (
    *("NL8-MI", "NL16-SM", "NL20-SM", "NL22-SM", "NL24-SM", "EL32-SM"),
    *("NL36-BA", "NL36-LG", "NL32-XL"),
)
# Figures 2 to 4 and 7 to 9: all operators around small, base and large. The text names
# NL16, NL24, NL32-SM, EL12-SM, FF2K, FF9K, F12K, KV and DM2K.
OPERATORS = (
    *("NL2-SM", "NL4-SM", "NL8-SM", "NL12-SM", "NL32-SM", "NL36-SM", "NL40-SM"),
    *("EL2-SM", "EL12-SM", "EL16-SM", "DL2-SM", "DL12-SM", "DL16-SM"),
    *("DM256-SM", "DM768-SM", "DM1K-SM", "DM2K-SM", "KV32-SM", "KV128-SM", "KV256-SM"),
    *("NH4-SM", "NH16-SM", "NH32-SM", "FF1K-SM", "FF3K-SM", "FF6K-SM", "FF9K-SM"),
    *("SH-SM", "SKV-SM"),
    *("NL2-BA", "NL4-BA", "NL8-BA", "NL16-BA", "NL24-BA", "NL32-BA", "NL40-BA"),
    *("EL4-BA", "EL8-BA", "EL16-BA", "DL4-BA", "DL8-BA", "DL16-BA"),
    *("DM256-BA", "DM512-BA", "DM1K-BA", "DM2K-BA", "KV32-BA", "KV128-BA", "KV256-BA"),
    *("NH8-BA", "NH16-BA", "NH24-BA", "NH32-BA", "FF2K-BA", "FF6K-BA", "FF9K-BA"),
    *("FF12K-BA", "SH-BA", "SKV-BA"),
    *("NL16-LG", "NL20-LG", "NL32-LG", "EL8-LG", "EL12-LG", "DL8-LG", "DL12-LG"),
    *("DM512-LG", "DM768-LG", "DM2K-LG", "KV32-LG", "KV128-LG", "KV256-LG"),
    *("NH8-LG", "NH12-LG", "NH24-LG", "NH32-LG", "FF2K-LG", "FF6K-LG", "FF9K-LG"),
    *("SH-LG", "SKV-LG"),
)
# Figures 1, 5 and 6: large to xxxl and their depths, with those of Tables 3 and 4.
DEPTHS = (
    *("NL2-LG", "NL4-LG", "NL8-LG", "NL12-LG", "NL4-XL", "NL8-XL", "NL12-XL"),
    *("NL16-XL", "NL4-XXL", "NL8-XXL", "NL4-XXXL", "NL8-XXXL", "NL12-XXXL"),
)
# Table 6: Base against DeepNarrow on twelve more tasks.
TABLE_6 = ("transformer-base", "transformer-NL24-SM")
_ALONE = {
    **dict.fromkeys(("xsum", "cnn_dailymail", "multi_news"), True),  # Long answers.
    **dict.fromkeys(("civil_comments", "wiki_toxicity", "imdb"), False),
}

# In two orders of the data, whose runs give the error of all.
_LAPTOP_DEPTHS = ("pico", "nano", "NL4-PI", "NL32-PI")
# In one order.
_LAPTOP_OPERATORS = (
    *("EL4-PI", "DL4-PI", "DM64-PI", "KV32-PI", "NH4-PI", "FF256-PI"),
    *("SH-PI", "SKV-PI"),
)
_LAPTOP_TABLE_6 = ("transformer-nano", "transformer-NL4-PI")


def get_config(scale: str = papers.PUBLISHED) -> config_dict.ConfigDict:
    """Returns the configuration of the study.

    Args:
        scale: one of `papers.SCALES`.
    """
    config = papers.get(scale)
    config.architectures = ("transformer",)
    if scale == papers.LAPTOP:
        config.sizes = (*_LAPTOP_DEPTHS, *_LAPTOP_OPERATORS)
        config.design.orders = (
            *(2,) * len(_LAPTOP_DEPTHS),
            *(1,) * len(_LAPTOP_OPERATORS),
        )
        with config.unlocked():
            config.finetunings.table_6 = {
                "models": _LAPTOP_TABLE_6,
                "mixture": "acceptability,same_document",
            }
        return config
    sizes = (*TABLE_1, *TABLE_3, *TABLE_4, *OPERATORS, *DEPTHS)
    config.sizes = tuple(dict.fromkeys(sizes))
    # Rainbow is trained together and the other tasks alone, in batches of 128 at the
    # default rate of 1e-3; each score is the peak of its validation. The paper does not
    # state the steps: these are its other ones.
    with config.unlocked():
        config.finetunings.table_6_rainbow = {"models": TABLE_6, "mixture": "rainbow"}
        for task, is_long in _ALONE.items():
            config.finetunings[f"table_6_{task}"] = {
                "models": TABLE_6,
                "mixture": task,
                **({"decoder_length": 512, "decoding": "beam"} if is_long else {}),
            }
    return config
