"""What one part may take of another, and what follows from it for that other: each number stands here, once."""

# Connections of one process to Postgres: to read (books/), and of a ledger worker to settle and to open shards.
READING_CONNECTIONS = 7
# One more, for what must be read while all the others are taken: which epochs are fenced.
EPOCH_CONNECTIONS = 1
SETTLING_CONNECTIONS = 8
# The migration, an audit, a person at the console, and what Postgres keeps for itself and its standbys.
_OTHER_CONNECTIONS = 30
# Connections of one worker to Redis.
REDIS_CONNECTIONS = 64
# Redis's maxmemory by where new packets are refused: claims find room between the two.
_ROOM = 4, 3
_MIB = 2**20
# Connections to a worker's port of health and metrics.
OPS_CONNECTIONS = 64
# Files of a worker: its own, connections to brokers, and the fewest clients that make a worker worth starting.
_OWN_FILES, _CLIENTS_MIN = 48, 128
# Of Kafka: its jars and topics of its own (132 were seen), and of each shard a segment with its indexes, twice while it
# rolls.
_KAFKA_FILES, _KAFKA_FILES_BY_SHARD = 200, 6
# What Redis keeps for itself, and people who look into it.
_REDIS_FILES = 64


def postgres_connections(api: int, ledger: int) -> int:
    """The least max_connections with which so many workers are never refused one."""
    reading = (api + ledger) * (READING_CONNECTIONS + EPOCH_CONNECTIONS)
    return reading + ledger * SETTLING_CONNECTIONS + _OTHER_CONNECTIONS


def maxmemory_mib(refuse_mib: int) -> int:
    """The least maxmemory of a Redis in which claims go on above `refuse_mib`."""
    return -(-refuse_mib * _ROOM[0] // _ROOM[1])


def watermarks_bytes(evict_mib: int, refuse_mib: int, maxmemory_bytes: int) -> tuple[int, int]:
    """Above which used memory to evict, and to refuse new packets: as set, or less where Redis has no room behind it.

    `maxmemory_bytes`: 0 where Redis takes what it needs.
    """
    evict, refuse = evict_mib * _MIB, refuse_mib * _MIB
    if not maxmemory_bytes or maxmemory_bytes >= maxmemory_mib(refuse_mib) * _MIB:
        return evict, refuse
    refuse = maxmemory_bytes * _ROOM[1] // _ROOM[0]
    return min(evict, refuse * _ROOM[1] // _ROOM[0]), refuse


def worker_files(clients: int = _CLIENTS_MIN) -> int:
    """Open files that a worker of either kind needs, with so many clients."""
    postgres = READING_CONNECTIONS + EPOCH_CONNECTIONS + SETTLING_CONNECTIONS
    return postgres + REDIS_CONNECTIONS + OPS_CONNECTIONS + _OWN_FILES + clients


def stack_files(api: int, ledger: int, shards: int) -> dict[str, int]:
    """Open files that one process of each part needs, where all of it runs on one machine."""
    return {
        "a worker": worker_files(),
        "Redis": (api + ledger) * REDIS_CONNECTIONS + _REDIS_FILES,
        "Kafka": shards * _KAFKA_FILES_BY_SHARD + _KAFKA_FILES,
    }
