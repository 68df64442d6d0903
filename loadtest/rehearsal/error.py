class RehearsalError(Exception):
    """A rehearsal could not be made, or not judged; the message says why. Not that something was found."""
