"""What can go wrong that the person who runs it can mend."""


class BenchmarkError(Exception):
    """The benchmark can't go on; the text is one line that says why and what to do."""
