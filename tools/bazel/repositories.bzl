"""The repositories that a workspace needs to build our targets."""

load(":interpreter.bzl", "interpreter")

def clinometer_repositories():
    """Declares the interpreter's repository and registers the Python toolchain."""
    interpreter(name = "interpreter")
    native.register_toolchains("@interpreter//:toolchain")
