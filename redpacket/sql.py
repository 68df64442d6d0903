"""SQL lives in .sql files of named blocks, each with its description above it:

-- name: what it is called
-- what it is for
SELECT ...;
"""

import re
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files

# A younger day is never detached. Migration 0011 detaches none of two days more, for the clocks of two machines.
LIVE_DAYS = 30


def read_queries(package: str, file: str = "queries.sql") -> dict[str, str]:
    """The blocks of the file, by name."""
    text = (files(package) / file).read_text()
    _, *blocks = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(blocks[::2], (block.strip() for block in blocks[1::2]), strict=True))


def of_days(sql: str, days: Collection[date]) -> str:
    """The statement, which looks at these days (`:days` in it) and at no others.

    They stand in its text. Days that are parameters, or joined, would not do: a plan that Postgres keeps for any days
    locks every partition, and looks at each, whenever it runs.

    It reads `whole_packet`, `whole_claim` and `whole_posting`, which have a day wherever it is. Where none of the days
    is old enough to be detached they become `packet`, `claim` and `posting`: what is asked all the time knows of no
    old day.
    """
    oldest_live = datetime.now(UTC).date() - timedelta(days=LIVE_DAYS)
    if all(day >= oldest_live for day in days):
        sql = sql.replace("whole_", "")
    return sql.replace(":days", "'{" + ",".join(map(str, sorted(set(days)))) + "}'::date[]")
