"""The bytes of a connection that are received and not parsed yet."""

_EMPTY_LINE = b"\r\n\r\n"
# Of a body, or of headers whose end is not there.
_PIECE_MAX_BYTES = 4_096


class Unparsed:
    """A queue of bytes, taken in pieces. A piece has at most one empty line, which ends a request's headers: so a piece
    completes at most one request, or the body of one and the headers of the next."""

    __slots__ = ("_at", "_data")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0

    def __bool__(self) -> bool:
        return self._data != b""

    def add(self, data: bytes) -> None:
        self._data = self._data[self._at :] + data if self._data else data
        self._at = 0

    def take(self) -> bytes:
        """The next piece."""
        data, begin = self._data, self._at
        end = begin + _PIECE_MAX_BYTES
        found = data.find(_EMPTY_LINE, begin, end)
        if found >= 0 and data.find(_EMPTY_LINE, found + 1, end) >= 0:
            end = found + len(_EMPTY_LINE)
        if end >= len(data):
            self.clear()  # a connection may idle for long
        else:
            self._at = end
        return data[begin:end]

    def put_back(self, data: bytes) -> None:
        """`data` comes before all else."""
        self._data = data + self._data[self._at :]
        self._at = 0

    def clear(self) -> None:
        self._data = b""
        self._at = 0
