"""Does DeepNarrow hold for images? Two Vision Transformers on scikit-learn's digits.

Both cost the same FLOPs a step within 0.1 %: 8 layers of d_model 48, and 2 layers of
d_model 96. They are pretrained on the digits 0 to 4 and scored by few-shot
classification of the digits 5 to 9. `make study VIT=1` runs it.

Each depth has its own learning rate, tuned by `--tune` (tools/study/rates.json).
"""

from ml_collections import config_dict

from clinometer.data.images import digits
from clinometer.tools.study import protocol as protocol_lib
from clinometer.tools.study.configs import study

# Heads of width 16. The hidden width of the second is what makes the costs equal.
DEEP = "NL8-DM48-NH3-KV16-FF192-S"
SHALLOW = "NL2-DM96-NH6-KV16-FF397-S"


def get_config() -> config_dict.ConfigDict:
    """Returns the configuration of the study."""
    config = study.get_config()
    config.architectures = ("vit",)
    config.sizes = (SHALLOW, DEEP)
    config.design.orders = (3,)
    protocol = config.protocol
    protocol.kind = protocol_lib.IMAGES
    protocol.train_steps = 1000
    protocol.batch_size = 32
    # As in the Vision Transformer's pretraining: linear decay after the warmup.
    protocol.decay_fraction = 1 - protocol.warmup_fraction
    config.downstream.mixture = ""
    config.images.folder = digits.NAME
    config.images.classes = "0,1,2,3,4"
    config.images.validation_share = 0.2
    # Each of the 16 patches has 2 x 2 of a digit's 8 x 8 pixels.
    config.images.size = 16
    config.images.patch_size = 4
    config.images.min_area = 0.5  # The digits are cut closely.
    config.images.flip = False
    config.fewshot.folder = digits.NAME
    config.fewshot.classes = "5,6,7,8,9"
    return config
