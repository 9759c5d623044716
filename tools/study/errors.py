"""The one error that a study raises for what its user can put right."""


class StudyError(ValueError):
    """What is wrong with the study's options or folder, and what is accepted."""
