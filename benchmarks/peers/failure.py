"""The one exception that the programs here end with, and its exit code (those of fathom)."""

INTERNAL, BAD_INPUT, IO, INTERRUPTED = 1, 2, 3, 130


class Failure(Exception):
    """What is missing or wrong and how to mend it, in one line."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
