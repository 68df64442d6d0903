"""Ports of 127.0.0.1 that are free now and stay ours: outside of the range from which the kernel serves clients.

A port of that range could be taken by any client while its server is down; worse, a client that keeps calling a dead
server there sooner or later gets that very port as its own and is connected to itself.
"""

import os
import random
import socket
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from redpacket.stack.error import StackError
from redpacket.stack.files import write_whole

HOST = "127.0.0.1"
LOWEST = 10_000
CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
TRIES = 200
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LISTENING = "0A"
# 127.0.0.1 and all addresses, of IPv4 and in IPv6, as these tables have them (on a little-endian machine).
LEADING_TO_HOST = ("0100007F", "0" * 8, "0000000000000000FFFF00000100007F", "0" * 32)


Port = Annotated[int, Meta(ge=0, le=65_535)]


class Ports(Struct):
    kafka: Port = 0
    kafka_controller: Port = 0


def url_of(host: str, port: int) -> str:
    """The base URL of what listens there: an address of IPv6 stands in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_free(port: int) -> bool:
    return not why_not_free(port)


def why_not_free(port: int) -> str:
    """The kernel's reason; '' where the port can be had."""
    with socket.socket() as probe:
        # As the servers do: connections that are still being closed do not hold a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.strerror or repr(error)
        return ""


def serves(port: int, uid: int | None = None) -> bool:
    """Whether a process of this user, and of no other, listens on this port of HOST: somebody may have got it first."""
    owners = set()
    for table in filter(Path.exists, TABLES):
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, _, _, _, owner, *_ = line.split()
            address, _, number = local.rpartition(":")
            if state == LISTENING and int(number, 16) == port and address in LEADING_TO_HOST:
                owners.add(owner)
    return owners == {str(os.geteuid() if uid is None else uid)}


def free_ports(count: int) -> list[int]:
    """Free ports of 127.0.0.1, drawn at random so that stacks that start together do not meet. Raises StackError."""
    servers = range(LOWEST, _first_client_port())
    found: list[int] = []
    for port in random.sample(servers, min(TRIES + count, len(servers))):
        if len(found) == count:
            break
        if is_free(port):
            found.append(port)
    if len(found) < count:
        raise StackError(f"{count} free ports of 127.0.0.1 were not found from {servers.start} to {servers.stop}")
    return found


def kept_ports(file: Path) -> Ports:
    """The ports of the last start, kept in `file`; one that is new, or that somebody else has taken, is chosen anew.

    Every server can live with another port (Kafka too: a lone KRaft node takes its new addresses from its settings).
    Raises StackError.
    """
    try:
        ports = msgspec.json.decode(file.read_bytes(), type=Ports)
    except (FileNotFoundError, msgspec.DecodeError):
        ports = Ports()
    except OSError as error:
        raise StackError(f"{file} cannot be read: {error.strerror}") from None
    names = [name for name, port in msgspec.structs.asdict(ports).items() if not port or not is_free(port)]
    for name, port in zip(names, free_ports(len(names)), strict=True):
        setattr(ports, name, port)
    write_whole(file, msgspec.json.encode(ports))
    return ports


def _first_client_port() -> int:
    try:
        first = int(CLIENTS.read_text().split()[0])
    except (OSError, ValueError):
        first = 32_768
    return first if first > 2 * LOWEST else 65_536  # a machine that gives clients nearly all ports
