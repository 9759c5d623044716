"""The one error of inference: what cannot be known from these runs, and why."""


class InferenceError(ValueError):
    """The runs cannot answer; the message says which field, why and what is needed."""
