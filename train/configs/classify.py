"""Default configuration of pretraining on labelled images.

The defaults follow the Vision Transformer's pretraining (Dosovitskiy et al. 2021).
`train/fields.py` describes each field and the values that it accepts.
"""

from ml_collections import config_dict

from clinometer import models
from clinometer.train.configs import pretrain

# Peak learning rates of the paper for B and L; it has no S.
_RATES = {"S": 1e-3, "B": 8e-4, "L": 4e-4}


def get_config(model: str = "vit-S") -> config_dict.ConfigDict:
    """Returns the default configuration of a run on labelled images.

    Args:
        model: name of the model; see `pretrain.get_config`.
    """
    config = pretrain.get_config(model)
    config.kind = "classification"
    config.train_steps = 518_000  # 7 epochs of 303M images.

    # Any field of the model's config can be set, such as
    # --config.model.image_height=32.
    config.model = config_dict.ConfigDict()
    config.model.name = model
    config.model.num_classes = config_dict.placeholder(int)
    config.model.loss = "sigmoid"

    config.data = config_dict.ConfigDict()
    config.data.folder = config_dict.placeholder(str)
    config.data.validation_share = 0.05
    config.data.classes = ""
    config.data.batch_size = 4096
    config.data.min_area = 0.05
    config.data.flip = True
    config.data.mixup = 0.0
    config.data.threads = 2
    config.data.order = 0

    config.optimizer.name = "adamw"
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8
    config.optimizer.weight_decay = 0.1

    config.schedule.name = "linear"
    config.schedule.learning_rate = _RATES.get(_size(model), _RATES["S"])
    config.schedule.warmup_steps = 10_000

    config.z_loss = 0.0
    return config


def _size(model: str) -> str:
    """Returns the size of a model, or "" if the name is invalid."""
    try:
        return models.size_of(model)
    except models.ModelNameError:  # `models.build` reports what is wrong.
        return ""
