"""Whether Postgres has room for the locks of a ledger of so many days.

A statement of the service locks the few days that it names. An audit locks all of them in one snapshot; so does whoever
reads a partitioned table as a whole, by hand or for a backup.
"""

from redpacket.books.database import Books

# Of the room, for one who reads all of it: the rest is for everybody else.
_SHARE = 2


async def lock_shortage(books: Books) -> str:
    """A sentence with the numbers where the room is too small; empty where it is not. Raises BooksUnavailableError."""
    (row,) = await books.rows("locks")
    room, needed = row["per_transaction"] * row["sessions"], _SHARE * row["relations"]
    if needed <= room:
        return ""
    return (
        f"Postgres has room for {room:,} locks (max_locks_per_transaction {row['per_transaction']} x"
        f" {row['sessions']} sessions), and the {row['days']:,} days of this ledger have {row['relations']:,} tables and"
        f" indexes, which an audit locks: set max_locks_per_transaction to {-(-needed // row['sessions'])} or more and"
        " restart Postgres"
    )
