"""Corpora, token stores, span corruption, downstream tasks and their mixtures."""
