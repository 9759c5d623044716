"""The shape of a model, which its learning rate depends on."""

from clinometer import models
from clinometer.models.architectures import registry
from clinometer.tools.study.tuning import lookup


def of(model: str) -> lookup.Shape:
    """Returns the shape of a model.

    Args:
        model: the model's name.

    Raises:
        ValueError: there is no such model.
    """
    config = models.build(model).config
    layers = (
        (config.num_layers, 0)
        if models.takes_images(model)
        else (config.num_encoder_layers, config.num_decoder_layers)
    )
    return lookup.Shape(
        model=model,
        architecture=registry.parse(model).architecture,
        layers=layers,
        width=config.d_model,
    )
