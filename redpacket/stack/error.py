"""The errors of this room."""


class StackError(Exception):
    """The stack cannot be started, or a part of it failed; the message is a sentence for the person who started it."""


class NotRunningError(StackError):
    """No stack runs on the folder."""
