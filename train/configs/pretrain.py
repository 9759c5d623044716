"""Default configuration of pretraining by span corruption.

The defaults follow the papers' protocol. `train/fields.py` and `clinometer train
--help` describe each field and the values that it accepts.
"""

from ml_collections import config_dict

from clinometer import models
from clinometer.models.architectures.architecture import Architecture


def get_config(model: str = "transformer-small") -> config_dict.ConfigDict:
    """Returns the default configuration of a pretraining run.

    Args:
        model: name of the model, which is the part after the colon in
            `--config=pretrain.py:transformer-small`.
    """
    config = config_dict.ConfigDict()

    config.kind = "pretraining"
    config.seed = 0  # Not of the data, which is data.order.
    config.train_steps = 2**19  # 2^35 tokens in batches of 128 x 512.

    # Besides the name, any field of the model's config can be set here, for example
    # --config.model.dropout_rate=0.0 or --config.model.dtype=bfloat16.
    config.model = config_dict.ConfigDict()
    config.model.name = model
    config.model.vocab_size = config_dict.placeholder(int)

    config.data = config_dict.ConfigDict()
    config.data.store = config_dict.placeholder(str)
    config.data.batch_size = 128
    config.data.encoder_length = 512  # The decoder length is then 114.
    config.data.noise_density = 0.15
    config.data.mean_noise_span_length = 3.0
    config.data.order = 0
    follow_length(config)

    config.optimizer = config_dict.ConfigDict()
    config.optimizer.name = "adafactor"
    # Adafactor (Shazeer and Stern, 2018).
    config.optimizer.decay_rate = 0.8
    config.optimizer.clipping_threshold = 1.0
    config.optimizer.min_dim_size_to_factor = 128
    # AdamW.
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.98
    config.optimizer.eps = 1e-9
    config.optimizer.weight_decay = 0.0

    config.schedule = config_dict.ConfigDict()
    config.schedule.name = "rsqrt"
    config.schedule.learning_rate = 1.0
    config.schedule.warmup_steps = 10_000
    config.schedule.warmup_fraction = 0.05
    config.schedule.decay_fraction = 0.3
    config.schedule.final_fraction = 0.0

    config.mesh = config_dict.ConfigDict()
    config.mesh.data = config_dict.placeholder(int)
    config.mesh.fsdp = 1
    config.mesh.expert = 1
    config.mesh.model = config_dict.placeholder(int)
    config.mesh.rules = ""

    config.microbatch = "fixed"
    config.num_microbatches = 1
    config.device_memory_bytes = config_dict.placeholder(int)
    config.z_loss = 1e-4

    config.eval = config_dict.ConfigDict()
    config.eval.every_steps = 5_000
    config.eval.max_rows = config_dict.placeholder(int)

    config.checkpoint = config_dict.ConfigDict()
    config.checkpoint.every_steps = 5_000
    config.checkpoint.keep_last = 2
    config.checkpoint.keep_best = 1
    config.checkpoint.keep_every_steps = config_dict.placeholder(int)

    config.initial = config_dict.ConfigDict()
    config.initial.run = config_dict.placeholder(str)
    config.initial.step = config_dict.placeholder(int)
    config.initial.optimizer_slots = "reset"
    config.initial.branch = False

    config.compilation_cache = config_dict.placeholder(str)

    config.log = config_dict.ConfigDict()
    config.log.every_steps = 100
    config.log.health_every_steps = 1_000
    config.log.spike_window = 50
    config.log.spike_threshold = 8.0
    config.log.trackers = "tensorboard"
    config.log.peak_flops_per_second = config_dict.placeholder(float)

    config.profile = config_dict.ConfigDict()
    config.profile.start_step = config_dict.placeholder(int)
    config.profile.num_steps = 3

    config.hosts = config_dict.ConfigDict()
    config.hosts.watchdog_seconds = 300.0
    config.hosts.watchdog_other_seconds = 3_600.0

    # Set by `clinometer study`; only recorded.
    config.study = config_dict.ConfigDict()
    config.study.role = config_dict.placeholder(str)
    config.study.pass_number = config_dict.placeholder(int)
    config.study.claims = config_dict.placeholder(str)
    config.study.rate_table = config_dict.placeholder(str)
    config.study.rate_corpus = config_dict.placeholder(str)
    config.study.fixed_rate = config_dict.placeholder(float)
    return config


def follow_length(config: config_dict.ConfigDict) -> None:
    """Ties a model's length field, if it has one, to the encoder length of the data.

    Args:
        config: a configuration with `model.name` and `data.encoder_length`; changed in
            place.
    """
    kind = architecture(config.model.name)
    if kind and kind.length_field:
        config.model[kind.length_field] = config.data.get_oneway_ref("encoder_length")


def architecture(model: str) -> Architecture | None:
    """Returns the architecture of a model of texts, or None if there is none.

    Args:
        model: name of the model; `models.build` reports what is wrong with it.
    """
    try:
        found = models.architecture_of(model)
    except models.ModelNameError:
        return None
    return found if isinstance(found, Architecture) else None
