"""What has come on a connection and is not parsed yet. It stays bytes: parsed, each of them would cost eighty."""

_EMPTY_LINE = b"\r\n\r\n"
# Of a body, or of headers whose end is not there.
_PIECE_MAX_BYTES = 4_096


class Unparsed:
    """Bytes in their order, taken piece by piece. A piece ends behind the first empty line, where headers end: whoever
    parses one has one request of it, and hardly ever two."""

    __slots__ = ("_at", "_data")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def add(self, data: bytes) -> None:
        self._data = self._data[self._at :] + data if self else data
        self._at = 0

    def take(self) -> bytes:
        """The next piece: at least a byte of what is there."""
        begin, longest = self._at, self._at + _PIECE_MAX_BYTES
        found = self._data.find(_EMPTY_LINE, begin, longest)
        self._at = longest if found < 0 else found + len(_EMPTY_LINE)
        piece = self._data[begin : self._at]
        if not self:
            self.clear()  # a connection may idle for long
        return piece

    def put_back(self, data: bytes) -> None:
        """`data` comes before all else."""
        self._data = data + self._data[self._at :]
        self._at = 0

    def clear(self) -> None:
        self._data = b""
        self._at = 0
