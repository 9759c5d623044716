"""Text to batches: corpora, vocabularies, token stores and span corruption."""
