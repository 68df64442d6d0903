"""What CPU each part uses, over the death of its processes."""

from loadtest.cpu import cpu_s
from loadtest.stack import Stack


class CpuMeter:
    """A process that is killed keeps what it had used at the last look; one that is new counts from its start. Without
    a stack of this machine it measures only what is added to it."""

    def __init__(self, stack: Stack | None) -> None:
        self._stack = stack
        self._added: dict[int, str] = {}
        self._first_s: dict[tuple[str, int], float] = {}
        self._last_s: dict[tuple[str, int], float] = {}

    def add(self, part: str, pid: int) -> None:
        """A process that counts from its start."""
        self._added[pid] = part

    def begin(self) -> None:
        """What was used until now does not count."""
        self.look()
        self._first_s = dict(self._last_s)

    def look(self) -> None:
        pids = self._stack.pids() if self._stack is not None else {}
        running = [(part, pid) for part, of_part in pids.items() for pid in of_part]
        for part, pid in (*running, *((part, pid) for pid, part in self._added.items())):
            try:
                self._last_s[part, pid] = cpu_s(pid)
            except OSError:  # it has ended since
                continue

    def spent_s(self) -> dict[str, float]:
        """Seconds by part, up to the last look."""
        spent: dict[str, float] = {}
        for (part, pid), last_s in self._last_s.items():
            spent[part] = spent.get(part, 0.0) + last_s - self._first_s.get((part, pid), 0.0)
        return spent
