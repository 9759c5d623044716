"""Default configuration of fine-tuning on a mixture of text-to-text tasks.

The defaults are those of T5. `train/fields.py` and `clinometer finetune --help`
describe each field and the values that it accepts.
"""

from ml_collections import config_dict

from clinometer.train.configs import pretrain


def get_config(model: str = "transformer-small") -> config_dict.ConfigDict:
    """Returns the default configuration of a fine-tuning run.

    Args:
        model: name of the model; see `pretrain.get_config`. It must match the model of
            `config.initial.run`, if that is set.
    """
    config = pretrain.get_config(model)
    config.kind = "finetuning"
    config.train_steps = 100_000
    kind = pretrain.architecture(model)
    config.model.update(kind.dropout_rates if kind else {})
    config.schedule.name = "constant"
    config.schedule.learning_rate = 1e-3

    config.data = config_dict.ConfigDict()
    config.data.store = config_dict.placeholder(str)
    config.data.mixture = config_dict.placeholder(str)
    config.data.folder = config_dict.placeholder(str)
    config.data.rate_limit = config_dict.placeholder(int)
    config.data.temperature = 1.0
    config.data.packing = False
    config.data.batch_size = 128
    config.data.encoder_length = 512
    config.data.decoder_length = 114
    config.data.order = 0
    pretrain.follow_length(config)

    config.eval.decoding = "greedy"
    config.eval.beam_size = 4
    config.eval.length_penalty = 0.6
    config.eval.temperature = 1.0
    config.eval.top_k = 0
    config.eval.top_p = 1.0
    config.eval.seed = 0
    config.eval.batch_size = 32
    config.eval.max_examples = config_dict.placeholder(int)
    config.eval.likelihood = False
    return config
