"""What protocol rooms raise: one error from codecs, one from sessions; endpoints translate both at one place."""


class WireError(Exception):
    """Bytes that are not a message of the protocol.

    `offset` is where in the message, in bytes from its start, reading had to stop.
    """

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(f"{message} (at byte {offset})")
        self.offset = offset


class SessionError(Exception):
    """A well-formed message that the session refuses; `reply_code` is the protocol's own code to answer with."""

    def __init__(self, message: str, reply_code: int) -> None:
        super().__init__(message)
        self.message = message
        self.reply_code = reply_code
