"""The corpus of the tests of data."""

from clinometer.tests.data.conftest import corpus_file
from clinometer.tests.data.conftest import texts

__all__ = ["corpus_file", "texts"]
