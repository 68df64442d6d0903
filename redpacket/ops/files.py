"""How many files a process may have open: a connection is one."""

import resource

# What a worker has open itself: Postgres, Redis, Kafka, logs, its port for health and metrics and who asks there.
_OWN = 256


def raise_file_limit() -> int:
    """Raises the soft limit of this process to its hard one. How many files that allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connections_within(files: int, wanted: int) -> int:
    """How many connections a worker that may have so many files open accepts: `wanted`, where there is room."""
    return max(1, min(wanted, files - _OWN))
