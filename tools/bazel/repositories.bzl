"""What a workspace needs to build our targets: its own WORKSPACE and others call it."""

load(":interpreter.bzl", "interpreter")

def clinometer_repositories():
    """Declares the interpreter with its packages, and makes it the Python toolchain."""
    interpreter(name = "interpreter")
    native.register_toolchains("@interpreter//:toolchain")
