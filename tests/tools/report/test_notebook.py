"""Runs the notebook, where nbclient is installed, and compares what it prints."""

import importlib.util

import pytest

_REASON = "nbclient is not installed; `make setup-notebook` brings it"
_INSTALLED = all(map(importlib.util.find_spec, ("nbclient", "ipykernel")))
if _INSTALLED:
    import nbclient
    import nbformat

pytestmark = pytest.mark.skipif(not _INSTALLED, reason=_REASON)


def _printed(notebook):
    """Returns the texts of the outputs, and the kinds of data that each one has."""
    return [
        (
            cell["id"],
            one.get("text") or one["data"]["text/plain"],
            sorted(one.get("data", ())),
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
        for one in cell.outputs
        if one.get("name") != "stderr"
    ]


@pytest.mark.slow
def test_the_stored_outputs_are_those_of_a_run(repo_root, tmp_path):
    path = repo_root / "tools/report/notebook.ipynb"
    stored = nbformat.read(path, as_version=4)
    run = nbformat.read(path, as_version=4)
    for cell in run.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    nbclient.NotebookClient(run, timeout=600).execute(cwd=str(tmp_path))
    assert _printed(run) == _printed(stored)
    (figure,) = [found for _, _, found in _printed(run) if "image/svg+xml" in found]
    assert figure
