"""The error of what a person typed."""

import argparse


class OptionError(argparse.ArgumentTypeError, ValueError):
    """An option, field or environment variable that is refused; says what is accepted.

    argparse shows the message of one that an option's type raises.
    """
