"""What the operator can mend: one line that names the thing and the remedy."""


class OperatorError(Exception):
    """A configuration, file, port or right that is not as it must be.

    `problem` names the thing, `remedy` what to do about it; the command line prints both on one line and exits 2.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}: {remedy}")
        self.problem = problem
        self.remedy = remedy
