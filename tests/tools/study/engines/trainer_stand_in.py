"""Stands in for the trainer in tests of engines: saves and stops as it does.

Usage: `trainer_stand_in.py RUN STEPS`. It goes on from the newest checkpoint, and makes
a step in 20 ms. On SIGTERM or a stop file it saves and exits with 42. A negative number
of steps is a run that never saves, and ends only by SIGTERM.
"""

import pathlib
import signal
import sys
import time


def main(argv: list[str]) -> int:
    """Returns the exit code."""
    run, steps = pathlib.Path(argv[0]), int(argv[1])
    stops = []
    signal.signal(signal.SIGTERM, lambda *unused: stops.append(True))
    (run / "checkpoints").mkdir(exist_ok=True)
    names = (path.name for path in (run / "checkpoints").iterdir())
    step = max(map(int, names), default=0)
    print("begins at", step, *argv[2:], flush=True)
    while steps < 0 or step < steps:
        if stops or (run / "stop").exists():
            if steps > 0:
                (run / "checkpoints" / str(step)).mkdir(exist_ok=True)
            (run / "stop").unlink(missing_ok=True)
            print("saves at", step, flush=True)
            return 42
        step += 1
        time.sleep(0.02)
    (run / "checkpoints" / str(steps)).mkdir()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
