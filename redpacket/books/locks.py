"""Whether Postgres has room for the locks of a ledger of so many days.

A statement of the service locks the few days that it names. An audit locks all of them in one snapshot; so does whoever
reads a partitioned table as a whole, by hand or for a backup.
"""

from redpacket.books.database import Books


async def lock_shortage(books: Books, times: int = 2) -> str:
    """A sentence with the numbers where there is no room to lock all days so many times, of which the second is for
    everybody else; empty where there is. Raises BooksUnavailableError."""
    (row,) = await books.rows("locks")
    room, needed = row["per_transaction"] * row["sessions"], times * row["relations"]
    if needed <= room:
        return ""
    wanted = -(-needed // row["sessions"])
    return (
        f"Postgres has room for {room:,} locks (max_locks_per_transaction {row['per_transaction']} x"
        f" {row['sessions']} sessions). The {row['days']:,} days of this ledger have {row['relations']:,} tables and"
        f" indexes, and an audit locks all of them: set max_locks_per_transaction to {wanted} or more"
        " and restart Postgres"
    )
