"""The folder for corpora, stores and copies that can be made again.

It is the first that is available of `$CLINOMETER_CACHE`, `$XDG_CACHE_HOME/clinometer`,
`~/.cache/clinometer` and, without a home folder, a folder for the user in the system's
temporary folder.
"""

import functools
import os
import tempfile

from clinometer.data.progress import Progress


def folder() -> str:
    """Returns the folder, which need not exist."""
    own = os.path.expanduser(os.environ.get("CLINOMETER_CACHE", ""))
    if own and not own.startswith("~"):
        return os.path.abspath(own)
    # The XDG specification says to ignore a relative XDG_CACHE_HOME.
    for name in (os.environ.get("XDG_CACHE_HOME", ""), "~/.cache"):
        home = os.path.expanduser(name)
        if os.path.isabs(home):
            return os.path.join(home, "clinometer")
    temporary = os.path.join(tempfile.gettempdir(), f"clinometer-{os.getuid()}")
    say_once(
        f"clinometer: no home folder found, so the cache folder is {temporary}; set "
        "HOME or CLINOMETER_CACHE to choose another"
    )
    return temporary


@functools.cache
def say_once(text: str) -> None:
    """Prints a message on standard error, once per process."""
    Progress("cache").message(text)
