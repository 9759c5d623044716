"""Fine-tuning on a mixture of text-to-text tasks; defaults are T5's.

What each field means and takes is in `train/fields.py`, and in `finetune --help`.
"""

from ml_collections import config_dict

from clinometer.train.configs import pretrain


def get_config(model: str = "transformer-small") -> config_dict.ConfigDict:
    """Returns the configuration of one run.

    Args:
        model: as `pretrain.get_config`; its fields must be those of the run that
            `config.initial.run` names, or fine-tuning starts from scratch.
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
    config.data.seed = 0
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
    return config
