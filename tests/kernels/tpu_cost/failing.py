"""Tables of cases whose making goes wrong, for children of the compiler."""

import os
import sys
import time


def dies():
    print("Check failed: of a test", file=sys.stderr, flush=True)
    os.abort()


def hangs():
    time.sleep(600)


def nothing():
    return []
