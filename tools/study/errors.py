"""The error that a study raises for mistakes of its user."""


class StudyError(ValueError):
    """An invalid option or folder of a study; the message says what is accepted."""
