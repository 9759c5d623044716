"""Tests of counts against the exact numbers of *Scale Efficiently*'s Table 5."""

import pytest

from clinometer import models

_CLASSES = 18291  # Of JFT-300M.
# Parameters, and multiply-adds of an image in units of 1e9.
_TABLE = {
    "vit-B": (101_521_011, 4.422),
    "vit-S": (36_202_867, 1.365),
    "vit-NL16-S": (61_421_939, 2.644),
    "vit-NL24-S": (86_641_011, 3.923),
    "vit-NL28-S": (99_250_547, 4.562),
}


@pytest.mark.parametrize("name", _TABLE)
def test_table_5(name):
    model = models.build(name, num_classes=_CLASSES)
    counts = model.count(2, models.ImageShape(224, 224), trace=name == "vit-S")
    params, macs = _TABLE[name]
    assert counts.params_total == params
    assert counts.macs_forward_batch / 2e9 == pytest.approx(macs, abs=5e-4)
    assert counts.flops_forward == 2 * counts.macs_forward_batch
    patches = 2 * 49 * 32 * 32 * 3 * model.config.d_model
    # Without the gradient of the images.
    expected = 3 * counts.flops_forward - 2 * patches
    assert counts.flops_train_step == expected
    if name == "vit-S":
        # The kernels' backward pass computes the logits of attention anew.
        logits = 2 * 2 * 8 * 50 * 50 * 512
        assert counts.flops_train_step_executed == expected + logits


def test_mean_pooling_has_no_token():
    fields = {"num_classes": _CLASSES, "image_width": 96}
    token, mean = (
        models.build("vit-S", pooling=pooling, **fields)
        for pooling in ("token", "mean")
    )
    assert (token.config.length, mean.config.length) == (22, 21)
    counts = [
        model.count(1, models.ImageShape(224, 96)).params_total
        for model in (token, mean)
    ]
    assert counts[0] - counts[1] == 2 * 512  # The token and its position.
