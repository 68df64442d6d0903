"""The settings of every process, read once from environment variables named REDPACKET_<FIELD>."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

PREFIX = "REDPACKET_"

Milliseconds = Annotated[int, Meta(ge=1, le=600_000)]


class SettingsError(Exception):
    """A setting is missing, unknown or out of range; the message names it and says what is wanted."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    # Where the servers are.
    postgres_url: str
    redis_url: str
    kafka_bootstrap: str
    # Where Kafka wants to know who asks (SASL, SCRAM-SHA-256); without a user it does not.
    kafka_user: str = ""
    kafka_password: str = ""
    # A folder with id.key, split.key and jwt_public.pem (and jwt_private.pem where tokens are issued).
    keys_dir: str

    # Fixed for the life of a deployment: kept in Postgres, and a process that disagrees refuses to start.
    shards: Annotated[int, Meta(ge=1, le=256)] = 16
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")] = "CNY"

    # Of the topic, when it is made. More than one broker wants 3 and 2.
    kafka_replication: Annotated[int, Meta(ge=1)] = 1
    kafka_min_insync: Annotated[int, Meta(ge=1)] = 1

    jwt_issuer: str = "redpacket"
    jwt_audience: str = "redpacket"

    # How long a request may take before it is answered 202 or 503.
    request_timeout_ms: Milliseconds = 3_000
    # How long one call to each part may take.
    redis_timeout_ms: Milliseconds = 1_000
    postgres_timeout_ms: Milliseconds = 2_000
    kafka_timeout_ms: Milliseconds = 2_000

    # Connections that one API worker accepts; fewer where it may not have as many files open. What more there are wait
    # for another worker, or until some are closed.
    connections_max: Annotated[int, Meta(ge=1)] = 8_192
    # Whether /metrics is also at the public port.
    public_metrics: bool = True

    # Requests of one shard that may wait in one worker; more are refused with 503.
    queue_max: Annotated[int, Meta(ge=1)] = 4_096
    # Items in one batch: one call to Redis, one record in Kafka. An item takes less than 1.5 KB, so that a record of
    # 512 stays below Kafka's 1 MiB.
    batch_max: Annotated[int, Meta(ge=1, le=512)] = 512
    # Entries in a shard's outbox (reserved, not yet confirmed); more are refused with 503. So is everything new while
    # one is older than this: the log does not take them. The relay has sent again by then what a dead worker left.
    outbox_max: Annotated[int, Meta(ge=1)] = 256
    outbox_age_max_ms: Milliseconds = 3_000

    # MiB of Redis (its used_memory): above the first what is settled and not in use is evicted, above the second no new
    # packets are taken. Its maxmemory leaves room above the second (redpacket/limits.py).
    memory_evict_mib: Annotated[int, Meta(ge=1)] = 1_024
    memory_refuse_mib: Annotated[int, Meta(ge=1)] = 2_048

    # The name of this ledger worker among the others, kept over restarts: one that is back within seconds finds its
    # shards waiting instead of moving them twice.
    instance: str = ""

    # Where this process tells of its health and its metrics; port 0 takes a free one. Where others are to ask, in a
    # cluster, say, the host is 0.0.0.0.
    ops_host: str = "127.0.0.1"
    ops_port: Annotated[int, Meta(ge=0, le=65_535)] = 0

    def __post_init__(self) -> None:
        if self.memory_refuse_mib < self.memory_evict_mib:
            raise ValueError("REDPACKET_MEMORY_REFUSE_MIB must not be below REDPACKET_MEMORY_EVICT_MIB")


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ`. Raises SettingsError naming the variable that is missing, unknown or wrong."""
    given = {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
    try:
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings: {_named_as_variables(str(error))}; see .env.example") from None


def check_places(settings: Settings) -> None:
    """Whether the servers' places can be any. Raises SettingsError, where a driver would raise an error of its own."""
    brokers = [f"//{broker.strip()}" for broker in settings.kafka_bootstrap.split(",")]
    for name, urls, schemes in (
        ("POSTGRES_URL", [settings.postgres_url], ("postgresql", "postgres")),
        ("REDIS_URL", [settings.redis_url], ("redis", "rediss", "unix")),
        ("KAFKA_BOOTSTRAP", brokers, ("",)),
    ):
        for url in urls:
            if not _is_place(url, schemes):
                # Not what it is: a URL may hold a password.
                raise SettingsError(f"settings: {PREFIX}{name} cannot be a server's place: see .env.example for one")


def _is_place(url: str, schemes: Sequence[str]) -> bool:
    try:
        place = urlsplit(url)
        port = place.port
    except ValueError:
        return False
    if place.scheme not in schemes or port == 0:
        return False
    # Where there is a scheme, a socket's path may stand in the place of a host.
    return bool(place.scheme or (place.hostname and not place.path))


def _named_as_variables(sentence: str) -> str:
    """msgspec's sentence about a field, about the variable that it was read from."""
    named = re.sub(r"(field )?`(?:\$\.)?([a-z][a-z0-9_]*)`", _named_as_variable, sentence)
    return named.replace("Object missing required", "missing:").replace("Object contains unknown", "unknown:")


def _named_as_variable(found: re.Match[str]) -> str:
    field, name = found.groups()
    return f"{PREFIX}{name.upper()}" if field or found[0].startswith("`$.") else found[0]


def settings_environ(settings: Settings) -> dict[str, str]:
    """The environment variables that read_settings turns into `settings`."""
    return {PREFIX + name.upper(): str(value) for name, value in msgspec.structs.asdict(settings).items()}


def read_key(settings: Settings, name: str) -> bytes:
    """The bytes of the key file `name` in keys_dir: 64 hex digits make 32 bytes. Raises SettingsError."""
    path = Path(settings.keys_dir) / name
    try:
        key = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise SettingsError(f"settings: the key {path} cannot be read: {error}") from None
    if len(key) != 32:
        raise SettingsError(f"settings: the key {path} has {len(key)} bytes, 32 are wanted (64 hex digits)")
    return key
