"""Which processes there are, as /proc tells."""

import asyncio
from collections.abc import Collection
from pathlib import Path


def descendants(pid: int) -> set[int]:
    """Those that the process has started, and theirs, which are still there."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    new = {pid}
    while new:
        new = {child for parent in new for child in children.get(parent, ())}
        found |= new
    return found


async def wait_gone(pids: Collection[int], timeout_s: float) -> None:
    """Raises TimeoutError where one is still there. One that has ended and nobody has waited for is not."""
    async with asyncio.timeout(timeout_s):
        while any(_parent(Path(f"/proc/{pid}")) is not None for pid in pids):
            await asyncio.sleep(0.05)


def _parent(entry: Path) -> int | None:
    """None where it has ended."""
    try:
        state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state in "ZX" else int(parent)
