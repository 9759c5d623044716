"""Tests the event files, read by tensorboardX's own protocol buffers."""

import struct

from tensorboardX.proto import event_pb2

from clinometer.tests.train.tracking import fakes
from clinometer.train.tracking import tensorboard_tracker


def events(folder):
    """Yields the events of a folder: length, its CRC, the event, its CRC."""
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            yield event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            at += 12 + length + 4


def test_scalars_and_the_configuration(tmp_path):
    run = fakes.tracked(tmp_path / "run", start_step=4)
    tracker = tensorboard_tracker.TensorBoard(run)
    tracker.scalars(5, {"train/loss": 2.5, "train/loss_spike": 1.0})
    tracker.sync()
    tracker.finish("finished")
    written = list(events(run.directory.tensorboard_path))
    values = [(e.step, v) for e in written for v in e.summary.value]
    scalars = {
        v.tag: (step, v.simple_value) for step, v in values if not v.tensor.dtype
    }
    assert scalars == {"train/loss": (5, 2.5), "train/loss_spike": (5, 1.0)}
    texts = {
        v.tag: v.tensor.string_val[0].decode() for _, v in values if v.tensor.dtype
    }
    assert '"kind": "pretraining"' in texts["config/text_summary"]
    assert texts["git_revision/text_summary"] == "abc123"
    assert texts["status/text_summary"] == "finished"
    # Event 2 of TensorBoard's SessionLog: values from here on are new.
    starts = [e.step for e in written if e.session_log.status == 1]
    assert starts == [5]
