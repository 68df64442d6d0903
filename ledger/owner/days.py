"""Partitions made before their day comes, so that nobody waits for them at midnight."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from ledger.settle.transaction import Settler
from redpacket.books.database import POSTGRES_FAILURES

logger = logging.getLogger(__name__)

_DAYS_AHEAD = 7
_LOOK_AGAIN_S = 600.0
_FAILED_AGAIN_S = 5.0


async def keep_days_ahead(settler: Settler) -> None:
    """Until cancelled: the partitions of today and of the days to come."""
    while True:
        today = datetime.now(UTC).date()
        try:
            await settler.ensure_days(today + timedelta(days=ahead) for ahead in range(_DAYS_AHEAD + 1))
        except POSTGRES_FAILURES as error:
            logger.warning("the days ahead have no partitions yet: %r", error)
            await asyncio.sleep(_FAILED_AGAIN_S)
        else:
            await asyncio.sleep(_LOOK_AGAIN_S)
