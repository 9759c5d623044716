"""The Mixture of Softmaxes and its gradients in float64 NumPy, and error bounds."""

from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np

ROUNDING = 2.0**-8  # The largest relative error of a number rounded to bfloat16.
FLOAT32 = 2.0**-24


def operands(
    batch: int, length: int, width: int, components: int, vocabulary: int
) -> tuple[Any, ...]:
    """Returns h in bfloat16, mixture, context and table, and the output's gradient."""
    rng = np.random.default_rng(batch * length + vocabulary)
    shapes = [
        (batch, length, width),
        (components, width),
        (components, width, width),
        (vocabulary, width),
        (batch, length, vocabulary),
    ]
    arrays = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]
    return arrays[0].astype(jnp.bfloat16), *arrays[1:]


def log_sum_exp(x: np.ndarray, axis: int) -> np.ndarray:
    most = x.max(axis, keepdims=True)
    return most + np.log(np.exp(x - most).sum(axis, keepdims=True))


class Mixture:
    """The output, in float64, of operands that are taken as exact.

    Tokens are [N], so that arrays are [N, K, V], [N, K, d] and so on.

    Attributes:
        contexts: tanh(h' context).
        prior: log-probabilities of the components.
        z: logits.
        normalizer: log-sum-exp of the logits.
        output: log-probabilities.
    """

    def __init__(self, h: Any, mixture: Any, context: Any, table: Any):
        h, *rest = (np.asarray(x, np.float64) for x in (h, mixture, context, table))
        self.shape = h.shape
        self.mixture, self.context, self.table = rest
        self.h = h.reshape(-1, h.shape[-1]) * h.shape[-1] ** -0.5
        logits = self.h @ self.mixture.T
        self.prior = logits - log_sum_exp(logits, 1)
        self.contexts = np.tanh(np.einsum("nd,kde->nke", self.h, self.context))
        self.z = self.contexts @ self.table.T
        self.normalizer = log_sum_exp(self.z, 2)
        mixed = self.prior[..., None] + self.z - self.normalizer
        self.output = log_sum_exp(mixed, 1)[:, 0]
        self.shares = np.exp(mixed - self.output[:, None])
        self.own = np.exp(self.z - self.normalizer)

    def output_error(self) -> np.ndarray:
        """Returns a bound on the error of `output` if products are of bfloat16.

        A product of two rounded numbers is off by (1 + u)^2 - 1 of itself, and so a
        logit by that of the product of the absolute factors. The output is a log of
        sums of exponentials of logits less their log-sum-exp, and so off by at most the
        error of one logit and that of one log-sum-exp, the largest of a logit's.
        """
        error = self._logit_error()
        error = error + error.max(2, keepdims=True)
        return error.max(1)

    def _logit_error(self) -> np.ndarray:
        size = np.abs(self.contexts) @ np.abs(self.table).T
        # Sums in float32, and functions of numbers of that size.
        relative = (1 + ROUNDING) ** 2 - 1 + (self.table.shape[1] + 8) * FLOAT32
        return relative * size + 16 * FLOAT32 * (1 + np.abs(self.z))

    def logit_gradients(self, output_grad: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns the gradients of the logits and of the prior."""
        g = np.asarray(output_grad, np.float64).reshape(len(self.h), 1, -1)
        prior_grad = (g * self.shares).sum(2)
        return g * self.shares - self.own * prior_grad[..., None], prior_grad

    def gradients(self, output_grad: Any) -> tuple[np.ndarray, ...]:
        """Returns the gradients of h, mixture, context and table."""
        z_grad, prior_grad = self.logit_gradients(output_grad)
        contexts_grad = z_grad @ self.table
        table_grad = np.einsum("nkv,nkd->vd", z_grad, self.contexts)
        return *self.component_gradients(prior_grad, contexts_grad), table_grad

    def component_gradients(
        self, prior_grad: np.ndarray, contexts_grad: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Returns the gradients of h, mixture and context."""
        total = prior_grad.sum(1, keepdims=True)
        logits_grad = prior_grad - np.exp(self.prior) * total
        before = contexts_grad * (1 - self.contexts**2)
        h_grad = logits_grad @ self.mixture
        h_grad += np.einsum("nke,kde->nd", before, self.context)
        h_grad *= self.h.shape[1] ** -0.5
        return (
            h_grad.reshape(self.shape),
            logits_grad.T @ self.h,
            np.einsum("nd,nke->kde", self.h, before),
        )

    def gradient_errors(self, output_grad: Any) -> tuple[np.ndarray, ...]:
        """Returns bounds on the errors of `gradients`, as `output_error` does.

        A share or own probability is off by the errors of its exponent, and z_grad is
        rounded once more. Bounds on the sums follow from those of their terms.
        """
        g = np.abs(np.asarray(output_grad, np.float64)).reshape(len(self.h), 1, -1)
        logit = self._logit_error()
        normalizer = logit.max(2, keepdims=True)
        own = np.expm1(logit + normalizer) * self.own
        exponent = logit + normalizer + self.output_error()[:, None]
        share = np.expm1(exponent) * self.shares
        z_grad, prior_grad = self.logit_gradients(output_grad)
        prior_error = (g * share).sum(2)
        error = g * share + own * (np.abs(prior_grad) + prior_error)[..., None]
        error += self.own * prior_error[..., None]
        error = error * (1 + ROUNDING) + ROUNDING * np.abs(z_grad)
        size = np.abs(z_grad) + error
        table, contexts = np.abs(self.table), np.abs(self.contexts)
        contexts_error = error @ table + size @ table * ROUNDING
        table_error = np.einsum("nkv,nkd->vd", error, contexts)
        table_error += ROUNDING * np.einsum("nkv,nkd->vd", size, contexts)
        total = prior_error.sum(1, keepdims=True)
        logits_error = prior_error + np.exp(self.prior) * total
        before = contexts_error * (1 - self.contexts**2)
        h_error = logits_error @ np.abs(self.mixture)
        h_error += np.einsum("nke,kde->nd", before, np.abs(self.context))
        h_error *= self.h.shape[1] ** -0.5
        h = np.abs(self.h)
        errors = (
            h_error.reshape(self.shape),
            logits_error.T @ h,
            np.einsum("nd,nke->kde", h, before),
            table_error,
        )
        found = self.gradients(output_grad)
        # Float32 elsewhere; h's gradient is rounded to bfloat16.
        small = (2 * ROUNDING, 1e-5, 1e-5, 1e-5)
        return tuple(
            e * (1 + r) + r * np.abs(x) + 1e-5 * np.abs(x).max()
            for e, x, r in zip(errors, found, small, strict=True)
        )


def rounded(x: Any) -> np.ndarray:
    """Returns x rounded to bfloat16, in float64."""
    return np.asarray(x, ml_dtypes.bfloat16).astype(np.float64)
