"""Owners whom no other test has, and clients that call as them."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.integration.scene import Scene, set_scene
from tests.system import System


@pytest.fixture
def nonce() -> str:
    return secrets.token_hex(6)


@pytest.fixture
async def client(system: System, nonce: str) -> Any:
    """Makes clients: `client("alice")` calls as an owner whom no other test has."""
    made: dict[tuple[str, str], httpx.AsyncClient] = {}

    def make(owner: str, scope: str = "") -> httpx.AsyncClient:
        if (owner, scope) not in made:
            made[owner, scope] = system.client(f"{owner}.{nonce}", scope)
        return made[owner, scope]

    yield make
    for one in made.values():
        await one.aclose()


@pytest.fixture(scope="module")
async def stage(system: System) -> AsyncIterator[Scene]:
    async with set_scene(system) as scene:
        yield scene


@pytest.fixture
async def scene(stage: Scene) -> Scene:
    """What bad input meets: see tests/integration/scene.py."""
    await stage.begin()
    return stage
