"""What ends a run with one line instead of a traceback."""


class LabError(Exception):
    """Something the lab needs is missing or failed; the text names it and what to do about it."""
