"""What tests share: the servers of a session, a deployment for each test, the whole system as its users have it."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from redpacket.stack.local import LocalServers
from tests.deployment import Deployment, installed
from tests.foreign import foreign_folder
from tests.system import System, running_system

# A busy machine is no reason to fail.
settings.register_profile("redpacket", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("redpacket")
# What is started here would inherit it from `nohup`, and not end when it is hung up.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalServers]:
    async with LocalServers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture
async def deployment(servers: LocalServers, tmp_path: Path) -> AsyncIterator[Deployment]:
    """Installed, nothing running in it."""
    async with installed(servers, tmp_path / "keys") as deployment:
        yield deployment


@pytest.fixture(scope="session")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """`redpacket up` with two workers of each kind. Whoever makes a part of it fail waits until it is whole again."""
    data = tmp_path_factory.mktemp("system")
    async with running_system(data, cwd=foreign_folder(data.with_name(f"{data.name}-started-in"))) as system:
        yield system
