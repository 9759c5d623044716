"""A store without splits, whose manifest has only what a search for stores reads."""

import pathlib

from clinometer.data.store import token_store


def write(folder: pathlib.Path, vocabulary_sha256: str) -> pathlib.Path:
    """Writes the manifest to a new folder and returns the folder."""
    manifest = token_store.Manifest(
        format_version=token_store.FORMAT_VERSION,
        name="empty",
        source={},
        corpus_hash="0" * 64,
        python_version="3.11.7",
        vocabulary={"sha256": vocabulary_sha256, "bytes": 0, "size": 0},
        dtype="uint16",
        block_tokens=1,
        splits={},
        empty_documents=0,
        broken_records={},
    )
    folder.mkdir(parents=True)
    (folder / token_store.MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return folder
