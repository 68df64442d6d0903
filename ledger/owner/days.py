"""Partitions made before their day comes, so that nobody waits for them at midnight."""

import logging
from datetime import UTC, date, datetime, timedelta

from ledger.owner.again import again_and_again, teller
from ledger.settle.transaction import Settler

logger = logging.getLogger(__name__)

_DAYS_AHEAD = 7
_LOOK_AGAIN_S = 5.0


async def keep_days_ahead(settler: Settler) -> None:
    """Until cancelled: the partitions of today and of the days to come."""
    made_for: date | None = None

    async def make() -> None:
        nonlocal made_for
        today = datetime.now(UTC).date()
        if today != made_for:
            await settler.ensure_days(today + timedelta(days=ahead) for ahead in range(_DAYS_AHEAD + 1))
            made_for = today

    await again_and_again(make, _LOOK_AGAIN_S, teller(logger, "partitions for the days ahead"))
