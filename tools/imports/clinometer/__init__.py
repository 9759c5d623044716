"""Makes the checkout importable as `clinometer` from Bazel, pytest and a plain clone.

The package's code is the repository root; this shim points there, so that no entry
point depends on what the checkout folder or Bazel's runfiles folder is called.
"""

import os

# Symlinks are kept: under Bazel they lead to the runfiles tree, which is the right one.
__path__ = [os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))]
with open(os.path.join(__path__[0], "__init__.py"), encoding="utf-8") as _file:
    exec(compile(_file.read(), _file.name, "exec"))
