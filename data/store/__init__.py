"""Token stores: vocabularies, tokenisation, and the files of a store."""
