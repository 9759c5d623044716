"""Running layers, and the two forms of their parameters."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.models.layers import remat as remat_lib
from clinometer.models.layers import stack


def layers(scan, remat):
    """Three layers x -> x + (x w + input) * (index + 1), returning x w."""

    def forward(x, inputs):
        def make_layer(name):
            linear = hk.Linear(4, with_bias=False, name=name)

            def apply(x, index, inputs):
                y = linear(x)
                return x + (y + inputs) * (index + 1), y

            return apply

        class Stack(hk.Module):
            def __call__(self, x):
                return stack.run_layers(
                    make_layer, 3, x, inputs, scan=scan, remat=remat
                )

        return Stack(name="stack")(x)

    return hk.without_apply_rng(hk.transform(forward))


@pytest.mark.parametrize("remat", remat_lib.POLICIES)
@pytest.mark.parametrize("scan", [False, True])
def test_equals_a_loop_written_out(scan, remat):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 4, 4)).astype(np.float32)
    inputs = rng.normal(size=(3, 2, 4)).astype(np.float32)
    x = rng.normal(size=(2, 4)).astype(np.float32)
    params = {f"stack/layer_{i}": {"w": jnp.asarray(w)} for i, w in enumerate(weights)}
    if scan:
        params = stack.stack_params(params)
    function = layers(scan, remat)
    assert jax.tree.structure(
        function.init(jax.random.key(0), x, inputs)
    ) == jax.tree.structure(params)
    got, outputs = function.apply(params, jnp.asarray(x), jnp.asarray(inputs))
    want = x.astype(np.float64)
    for i in range(3):
        y = want @ weights[i]
        np.testing.assert_allclose(outputs[i], y, rtol=1e-5, atol=1e-5)
        want = want + (y + inputs[i]) * (i + 1)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_stack_and_unstack_undo_each_other():
    per_layer = {
        "table": {"w": np.arange(2)},
        **{
            f"encoder/layer_{i}/ffn": {"wi": np.full((2, 3), i), "wo": np.full(3, -i)}
            for i in range(12)
        },
        "encoder/layer_0": {"g": np.zeros(1)},
    }
    stacked = stack.stack_params(per_layer)
    assert sorted(stacked) == [
        "encoder/layers/layer",
        "encoder/layers/layer/ffn",
        "table",
    ]
    # Layers are ordered by number, not by name: layer 10 comes after layer 2.
    np.testing.assert_array_equal(
        stacked["encoder/layers/layer/ffn"]["wi"][:, 0, 0], np.arange(12)
    )
    assert [stack.is_stacked(name) for name in sorted(stacked)] == [True, True, False]
    back = stack.unstack_params(stacked)
    assert sorted(back) == sorted(per_layer)
    for module, leaves in per_layer.items():
        for name, leaf in leaves.items():
            np.testing.assert_array_equal(back[module][name], leaf)


def test_a_missing_layer_is_an_error():
    with pytest.raises(ValueError, match=r"\[0, 2\]"):
        stack.stack_params(
            {"e/layer_0": {"w": np.ones(1)}, "e/layer_2": {"w": np.ones(1)}}
        )


def test_names_of_axes_are_stacked_as_parameters_are():
    axes = {
        "e/layer_0/ffn": {"wi": ("embed", "mlp")},
        "e/layer_1/ffn": {"wi": ("embed", "mlp")},
        "table": {"w": ("vocab", "embed")},
    }
    assert stack.stack_axes(axes) == {
        "e/layers/layer/ffn": {"wi": ("layers", "embed", "mlp")},
        "table": {"w": ("vocab", "embed")},
    }
    axes["e/layer_1/ffn"] = {"wi": ("mlp", "embed")}
    with pytest.raises(ValueError, match="stack_axes: layers differ: .*mlp"):
        stack.stack_axes(axes)
