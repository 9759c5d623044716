"""Fields of configurations that only some kinds of runs have: of texts and images."""

from clinometer.kernels.options import ranges
from clinometer.train.downstream import options as downstream_options
from clinometer.train.field import Field

MOST_TOKENS = 1 << 20  # Longest input or output.

_AT_LEAST_ONE = ranges.Whole(1)
_NOT_NEGATIVE = ranges.Real()
_POSITIVE = ranges.Real(without_least=True)
_LENGTH = ranges.Whole(1, MOST_TOKENS)
_OF_DECODING = downstream_options.RANGES

TEXT = {
    "data.store": Field(
        "Path of a token store, made by `clinometer tokenize`. Required.", str, True
    ),
    "data.encoder_length": Field("Length of the encoder input, in tokens.", _LENGTH),
    "model.vocab_size": Field(
        "Number of rows in the embedding table. None takes the vocabulary size of the "
        "token store, rounded up to a multiple of 128.",
        _AT_LEAST_ONE,
        optional=True,
    ),
}
PRETRAINING = {
    "data.noise_density": Field(
        "Fraction of the tokens to mask.",
        ranges.Real(0, 1, without_least=True, without_most=True),
    ),
    "data.mean_noise_span_length": Field(
        "Mean length of a masked span, in tokens.", ranges.Real(1)
    ),
}

FINETUNING = {
    "data.mixture": Field(
        "Comma-separated names of mixtures and tasks. Required.", str, True
    ),
    "data.folder": Field(
        "Folder with the files of the task releases. Not needed for probes, which are "
        "made from the embedded corpus.",
        str,
        optional=True,
    ),
    "data.rate_limit": Field(
        "Cap on the number of examples in a task's mixing rate, "
        "min(examples, rate_limit) ** (1 / temperature). None sets no cap.",
        _AT_LEAST_ONE,
        optional=True,
    ),
    "data.temperature": Field("Temperature in data.rate_limit's formula.", _POSITIVE),
    "data.packing": Field(
        "Whether to pack several examples into a row, with segment ids.", bool
    ),
    "data.decoder_length": Field("Length of the target, in tokens.", _LENGTH),
    "eval.decoding": Field(
        "Decoding method for scoring the validation examples. rank chooses the most "
        "likely of a task's labels, and decodes greedily if the task has none.",
        downstream_options.METHODS,
    ),
    "eval.beam_size": Field("beam: number of beams.", _OF_DECODING["beam_size"]),
    "eval.length_penalty": Field(
        "beam: exponent alpha of the length penalty, ((5 + length) / 6) ** alpha.",
        _OF_DECODING["length_penalty"],
    ),
    "eval.temperature": Field("sample: temperature.", _OF_DECODING["temperature"]),
    "eval.top_k": Field(
        "sample: number of most likely tokens to sample from. 0 samples from all.",
        _OF_DECODING["top_k"],
    ),
    "eval.top_p": Field(
        "sample: smallest total probability of the most likely tokens to sample from "
        "(nucleus sampling). 1 samples from all.",
        _OF_DECODING["top_p"],
    ),
    "eval.seed": Field("sample: random seed.", _OF_DECODING["seed"]),
    "eval.batch_size": Field("Decoding batch size.", _OF_DECODING["batch_size"]),
    "eval.max_examples": Field(
        "Maximum number of validation examples to score for each task, spaced evenly. "
        "None scores all.",
        _OF_DECODING["max_examples"],
        optional=True,
    ),
    "eval.likelihood": Field(
        "Whether to score the likelihood of the right answer, too, in tasks whose "
        "possible answers are known: 100 (1 + log p / log n) percent, where p is its "
        "probability among n answers.",
        bool,
    ),
}

CLASSIFICATION = {
    "model.num_classes": Field(
        "Number of classes. None takes that of the images.", _AT_LEAST_ONE, True
    ),
    "data.folder": Field(
        "Folder of the images, in folders CLASS/, in tar shards or in ArrayRecords "
        "(data/README.md), or in folders train/ and validation/ of these; digits for "
        "scikit-learn's. Required.",
        str,
        optional=True,
    ),
    "data.validation_share": Field(
        "Share of the images held out for validation, by the hash of their names, "
        "where there are no folders train/ and validation/.",
        ranges.Real(0, 1, without_least=True, without_most=True),
    ),
    "data.classes": Field(
        "Comma-separated names of the classes to use. Empty uses all.", str
    ),
    "data.min_area": Field(
        "Smallest share of an image's area that its random crop has. 1 takes the "
        "centre of the image.",
        ranges.Real(0, 1, without_least=True),
    ),
    "data.flip": Field("Whether half of the images are mirrored.", bool),
    "data.mixup": Field(
        "a of mixup: each batch is mixed with itself, moved by one row, in a share "
        "from the beta distribution (a, a). 0 mixes nothing.",
        _NOT_NEGATIVE,
    ),
    "data.threads": Field(
        "Number of threads that decode images.", ranges.Whole(1, 256)
    ),
}
