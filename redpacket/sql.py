"""SQL lives in .sql files of named blocks, each with its description above it:

-- name: what it is called
-- what it is for
SELECT ...;
"""

import re
from collections.abc import Collection
from datetime import date
from importlib.resources import files


def read_queries(package: str, file: str = "queries.sql") -> dict[str, str]:
    """The blocks of the file, by name."""
    text = (files(package) / file).read_text()
    _, *blocks = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(blocks[::2], (block.strip() for block in blocks[1::2]), strict=True))


def of_days(sql: str, days: Collection[date]) -> str:
    """The statement, which looks at these days (`:days` in it) and at no others.

    They stand in its text. Days that are parameters, or joined, would not do: a plan that Postgres keeps for any days
    locks every partition, and looks at each, whenever it runs.
    """
    return sql.replace(":days", "'{" + ",".join(map(str, sorted(set(days)))) + "}'::date[]")
