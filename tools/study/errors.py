"""The error of a study's folder."""


class StudyError(ValueError):
    """The study's folder is in use or holds other runs; the message says what to do."""
