"""The corpus of the tests of data."""

from clinometer.tests.data.conftest import corpus_file
from clinometer.tests.data.conftest import small_vocabulary
from clinometer.tests.data.conftest import store
from clinometer.tests.data.conftest import texts

__all__ = ["corpus_file", "small_vocabulary", "store", "texts"]
