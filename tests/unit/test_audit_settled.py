"""An audit waits for the ledger as long as that gets on, and no longer."""

from itertools import count
from typing import Any

import pytest

from ledger.audit import settled
from ledger.audit.findings import AuditError


class _Ledger:
    """Shard 0 stands still below where it is waited for; shard 1 is settled further and further."""

    def __init__(self) -> None:
        self._offsets = count(100)

    async def rows(self, _: str) -> list[dict[str, Any]]:
        moving = next(self._offsets)
        return [
            {"shard": 0, "next_offset": 5, "held": False},
            {"shard": 1, "next_offset": moving, "held": False},
        ]


async def test_a_shard_that_stands_still_is_told_though_others_get_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settled, "_STILL_S", 0.2)
    with pytest.raises(AuditError, match="shard 0 at 5 of 6"):
        await settled.wait_settled(_Ledger(), [6, 0])  # type: ignore[arg-type]
