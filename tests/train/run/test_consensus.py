"""Tests of what several processes agree on."""

import json
import sys

import pytest

from clinometer.tests.train import processes
from clinometer.train import errors
from clinometer.train.run import consensus

_CHILD = """
import json, jax
from clinometer.tests.train import processes
from clinometer.train import errors
from clinometer.train.run import consensus

processes.connect()
index, told, asked = jax.process_index(), [], []
for size in (1, 5000):
    told.append(consensus.from_first(lambda: asked.append(size) or [index, "x" * size]))

def refuse():
    raise errors.RunError(f"process {index} refuses")

try:
    consensus.from_first(refuse)
except errors.RunError as error:
    told.append(str(error))
told += [
    consensus.any_message(None),
    consensus.any_message("only 1" if index == 1 else None),
    consensus.any_message(f"from {index}"),
    len(consensus.any_message("x" * 5000)),
]
print(json.dumps([told, asked]))
"""


def _refuse():
    raise errors.RunError("no")


def test_a_process_alone_agrees_with_itself():
    assert consensus.from_first(lambda: [1, None]) == [1, None]
    with pytest.raises(errors.RunError, match="no"):
        consensus.from_first(_refuse)
    assert consensus.any_message("broken") == "broken"
    assert consensus.any_message(None) is None


@pytest.mark.slow
def test_two_processes(tmp_path):
    command = [sys.executable, "-c", _CHILD]
    with processes.Group(tmp_path, [command, command]) as group:
        assert group.wait(200) == [0, 0], group.tails()
        found = [json.loads(group.output(i).splitlines()[-1]) for i in range(2)]
    expected = [[0, "x"], [0, "x" * 5000], "process 0 refuses"]
    expected += [None, "only 1", "from 0", 1024]
    assert found == [[expected, [1, 5000]], [expected, []]]
