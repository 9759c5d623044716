"""Pretraining by span corruption; the defaults are the papers' protocol (spec §16)."""

from ml_collections import config_dict


def get_config(model: str = "transformer-small") -> config_dict.ConfigDict:
    """Returns the configuration of one run.

    Args:
        model: what follows the colon in `--config=pretrain.py:transformer-small`.
    """
    config = config_dict.ConfigDict()

    # Initialisation and dropout draw from this; the data has a seed of its own.
    config.seed = 0
    # Steps of the whole run. 2^19 steps of 128 x 512 tokens are 2^35 tokens.
    config.train_steps = 2**19

    # Any field of the model's config may stand here beside the name, for example
    # --config.model.dropout_rate=0.0 or --config.model.dtype=bfloat16.
    # None => vocab_size is the store's vocabulary, padded to a multiple of 128.
    config.model = config_dict.ConfigDict()
    config.model.name = model
    config.model.vocab_size = config_dict.placeholder(int)

    config.data = config_dict.ConfigDict()
    # A token store, as `clinometer tokenize` writes it. Must be given.
    config.data.store = config_dict.placeholder(str)
    config.data.batch_size = 128  # sequences per step
    config.data.encoder_length = 512  # tokens; 512 gives 114 in the decoder
    config.data.noise_density = 0.15  # fraction of the raw tokens
    config.data.mean_noise_span_length = 3.0  # tokens
    config.data.seed = 0  # order and corruption of the rows
    if model.lower().startswith("mixer"):
        # A Mixer takes one length only; it follows the data's.
        config.model.sequence_length = config.data.get_oneway_ref("encoder_length")

    config.optimizer = config_dict.ConfigDict()
    config.optimizer.name = "adafactor"  # or adamw
    # Adafactor (spec §16.2).
    config.optimizer.decay_rate = 0.8  # beta2(t) = 1 - (t + 1)^-decay_rate
    config.optimizer.clipping_threshold = 1.0  # of the update's RMS
    config.optimizer.min_dim_size_to_factor = 128
    # AdamW; its weight decay is decoupled: each step takes rate x decay x weight away.
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.98
    config.optimizer.eps = 1e-9
    config.optimizer.weight_decay = 0.0

    config.schedule = config_dict.ConfigDict()
    config.schedule.name = "rsqrt"  # or wsd, cosine, constant
    # rsqrt: learning_rate / sqrt(max(step, warmup_steps)); others: the peak rate.
    config.schedule.learning_rate = 1.0
    config.schedule.warmup_steps = 10_000  # rsqrt only
    config.schedule.warmup_fraction = 0.05  # of train_steps; wsd and cosine
    config.schedule.decay_fraction = 0.3  # of train_steps; wsd
    config.schedule.final_fraction = 0.0  # of the peak rate; wsd and cosine

    # Parts that a batch is cut into, to save memory; the gradient stays the same.
    config.num_microbatches = 1
    config.z_loss = 1e-4

    config.eval = config_dict.ConfigDict()
    config.eval.every_steps = 5_000  # and after the last step
    config.eval.max_rows = config_dict.placeholder(int)  # None => all

    config.checkpoint = config_dict.ConfigDict()
    config.checkpoint.every_steps = 5_000  # and after the last step
    config.checkpoint.keep_last = 2
    # By validation loss, among those saved; in fine-tuning by each task's score, which
    # saves whenever one is a new best.
    config.checkpoint.keep_best = 1
    # Keep for good the ones next to the multiples of this; None => none of them.
    config.checkpoint.keep_every_steps = config_dict.placeholder(int)

    # Parameters to start from; None => the initialisers.
    config.initial = config_dict.ConfigDict()
    config.initial.run = config_dict.placeholder(str)  # another run's directory
    config.initial.step = config_dict.placeholder(int)  # None => its newest checkpoint
    config.initial.optimizer_slots = "reset"  # or keep, as the other run left them

    config.log = config_dict.ConfigDict()
    config.log.every_steps = 100
    config.log.health_every_steps = 1_000  # 0 => never
    config.log.spike_window = 50  # logged losses that a spike is compared with
    config.log.spike_threshold = 6.0  # median absolute deviations above the median
    config.log.tensorboard = True
    # Peak of one device, for the MFU. None => train/speed.py's table, if it knows.
    config.log.peak_flops_per_second = config_dict.placeholder(float)

    config.profile = config_dict.ConfigDict()
    config.profile.start_step = config_dict.placeholder(int)  # None => no profile
    config.profile.num_steps = 3
    return config
