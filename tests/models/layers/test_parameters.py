"""Parameters: named axes, initialisers, dense layers; one module creates them all."""

import ast

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from clinometer.models.layers import parameters
from clinometer.tools.bazel import source_tree

HOME = "models/layers/parameters.py"
MAKERS = ("kernels", "models", "data", "train", "tools")


def made(function, *args):
    """Returns the parameters that `function` creates, with seed 0."""
    return hk.transform(function).init(jax.random.key(0), *args)


@pytest.mark.parametrize(
    ("shape", "axes"), [((), ()), ((3,), ("embed",)), ((3, 2), ("embed", "mlp"))]
)
def test_a_parameter_of_any_rank(shape, axes):
    params = made(lambda: parameters.make("w", shape, axes, parameters.constant(0.5)))
    assert params["~"]["w"].shape == shape
    assert params["~"]["w"].dtype == jnp.float32
    assert (params["~"]["w"] == 0.5).all()


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (("embed",), r"m/w: axes: must be a tuple of 2 names, .* shape \(3, 2\); got"),
        (("embed", "mlp", "vocab"), "must be a tuple of 2 names"),
        ((), "must be a tuple of 2 names"),
        (None, "must be a tuple of 2 names"),
        ("ab", "must be a tuple of 2 names"),
        (("embed", "width"), "m/w: axes: 'width' is unknown in .*; accepted.* mlp"),
        (("embed", None), "axes: None is unknown"),
        (("embed", "embed"), "'embed' is named twice"),
        (("layers", "embed"), "'layers' is unknown"),
    ],
)
def test_axes_that_do_not_fit_are_refused(axes, words):
    def function():
        with hk.experimental.name_scope("m"):
            parameters.make("w", (3, 2), axes, parameters.ones)

    with pytest.raises(ValueError, match=words):
        made(function)


def test_axes_cannot_be_left_out():
    with pytest.raises(TypeError, match="axes"):
        made(lambda: parameters.make("w", (3,), init=parameters.ones))
    with pytest.raises(TypeError, match="axes"):
        made(lambda: parameters.dense("w", jnp.ones((1, 2)), 3))


@pytest.mark.parametrize(
    ("init", "distribution"),
    [
        (parameters.normal(0.3), stats.norm(scale=0.3)),
        (parameters.truncated_normal(25), stats.truncnorm(-2, 2, scale=1 / 5)),
        (parameters.truncated_normal(9, 0.25), stats.truncnorm(-2, 2, scale=1 / 6)),
        (parameters.glorot_uniform(7, 17), stats.uniform(-0.5, 1.0)),
    ],
    ids=["normal", "truncated_normal", "truncated_normal_scaled", "glorot_uniform"],
)
def test_initialisers_draw_from_their_distribution(init, distribution):
    drawn = made(lambda: parameters.make("w", (20_000,), ("embed",), init))["~"]["w"]
    assert stats.kstest(np.asarray(drawn), distribution.cdf).pvalue > 0.01


def test_initialisers_without_chance():
    for init, value in (
        (parameters.ones, 1.0),
        (parameters.zeros, 0.0),
        (parameters.constant(-0.25), -0.25),
    ):
        np.testing.assert_array_equal(init((2, 3), jnp.float32), np.full((2, 3), value))


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_dense_equals_the_definition(shape, with_bias):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    params = {"m": {"w": rng.normal(size=(4, 5))}}
    if with_bias:
        params["m"]["w_bias"] = rng.normal(size=5)
    want = x @ params["m"]["w"] + params["m"].get("w_bias", 0.0)

    def function(x):
        with hk.experimental.name_scope("m"), jax.numpy_rank_promotion("raise"):
            return parameters.dense("w", x, 5, ("embed", "mlp"), with_bias=with_bias)

    single = jax.tree.map(jnp.float32, params)
    drawn = made(function, jnp.float32(x))
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, params)
    apply = hk.without_apply_rng(hk.transform(function)).apply
    np.testing.assert_allclose(apply(single, jnp.float32(x)), want, rtol=1e-5)
    half = apply(single, jnp.bfloat16(x))
    assert half.dtype == jnp.bfloat16  # Parameters are cast, not x.
    # bfloat16 has 8 bits: 2^-8 for each of x, kernel, product and sum.
    np.testing.assert_allclose(half.astype(jnp.float32), want, rtol=0.05, atol=0.05)


def test_a_dense_kernel_is_truncated_normal_by_default():
    x = jnp.ones((1, 64))
    params = made(
        lambda: parameters.dense("w", x, 500, ("embed", "mlp"), with_bias=True)
    )["~"]
    assert (params["w_bias"] == 0).all()
    distribution = stats.truncnorm(-2, 2, scale=1 / 8)
    drawn = np.asarray(params["w"]).ravel()
    assert stats.kstest(drawn, distribution.cdf).pvalue > 0.01


def test_axes_are_those_that_were_given_and_nothing_is_drawn():
    def never(shape, dtype):
        # The function must only be traced; computing values is an error.
        value = jnp.zeros(shape, dtype)
        assert isinstance(value, jax.core.Tracer)
        return value

    def function():
        for _ in range(2):  # The second call reuses the parameters.
            parameters.make("w", (1 << 40, 3), ("vocab", "embed"), never)
            parameters.make("b", (), (), never)

    init = hk.transform(function).init
    want = {"~": {"w": ("vocab", "embed"), "b": ()}}
    assert parameters.axes_of(init) == want
    assert parameters.axes_of(init) == want  # Traced again.


def test_a_parameter_made_without_names_is_named():
    def function():
        parameters.make("good", (3,), ("embed",), parameters.ones)
        with hk.experimental.name_scope("m"):
            hk.get_parameter("bad", [3], init=jnp.ones)
        hk.Linear(2, name="linear")(jnp.ones((1, 3)))

    init = hk.transform(function).init
    words = r"without named axes: linear/b, linear/w, m/bad; create them with `make`"
    with pytest.raises(ValueError, match=words):
        parameters.axes_of(init)
    assert len(init(jax.random.key(0))) == 3  # It still runs.


def test_one_parameter_has_one_meaning():
    def function():
        parameters.make("w", (3,), ("embed",), parameters.ones)
        parameters.make("w", (3,), ("mlp",), parameters.ones)

    with pytest.raises(ValueError, match=r"w: axes: \('mlp',\) here, \('embed',\)"):
        parameters.axes_of(hk.transform(function).init)


def makers_of_parameters(text: str) -> list[str]:
    """Returns the names in a file that create or initialise parameters with Haiku."""

    def makes(name: str) -> bool:
        found = getattr(hk, name, None)
        is_module = isinstance(found, type) and issubclass(found, hk.Module)
        return name in ("get_parameter", "initializers") or (
            is_module and found is not hk.Module
        )

    found, haiku = [], set()
    nodes = list(ast.walk(ast.parse(text)))
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "haiku":
                    haiku.add(alias.asname or "haiku")
                    if alias.name == "haiku.initializers":
                        found.append("initializers")
        elif isinstance(node, ast.ImportFrom) and node.module:
            package, _, inner = node.module.partition(".")
            if package == "haiku":
                names = [inner, *(alias.name for alias in node.names)]
                found += [name for name in names if makes(name)]
    return found + [
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in haiku
        and makes(node.attr)
    ]


def test_no_other_file_makes_parameters(repo_root):
    found = {
        name: makers_of_parameters((repo_root / name).read_text(encoding="utf-8"))
        for name in source_tree.python_files(repo_root, MAKERS)
    }
    assert set(found.pop(HOME)) == {"get_parameter", "initializers"}
    assert {name: makers for name, makers in found.items() if makers} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import haiku as hk\nw = hk.get_parameter('w', [], init=f)",
        "import haiku\nw = haiku.get_parameter('w', [], init=f)",
        "from haiku import get_parameter as get",
        "import haiku as hk\ninit = hk.initializers.Constant(0)",
        "from haiku.initializers import Constant",
        "import haiku as hk\ny = hk.Linear(3)(x)",
        "def f(x):\n    import haiku as hk\n    return hk.LayerNorm(-1, 1, 1)(x)",
    ],
)
def test_a_parameter_made_elsewhere_is_seen(text):
    assert len(makers_of_parameters(text)) == 1
    harmless = "import haiku as hk\nclass A(hk.Module):\n    f = hk.transform(f)"
    assert makers_of_parameters(harmless) == []
