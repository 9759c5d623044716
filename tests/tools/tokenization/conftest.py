"""Makes the corpus fixtures of tests/data available."""

from clinometer.tests.data.conftest import corpus_file
from clinometer.tests.data.conftest import texts

__all__ = ["corpus_file", "texts"]
