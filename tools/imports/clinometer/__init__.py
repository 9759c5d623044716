"""Makes the checkout importable as `clinometer` in Bazel, pytest and a plain clone.

The package's code is in the repository root. This shim points there, so that it can be
imported whatever the names of the checkout and of Bazel's runfiles folder.
"""

import os

# Symlinks are not resolved: under Bazel they point to the runfiles, as they should.
__path__ = [os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))]
with open(os.path.join(__path__[0], "__init__.py"), encoding="utf-8") as _file:
    exec(compile(_file.read(), _file.name, "exec"))
