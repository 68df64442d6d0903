"""The versions that have landed, and what git still has of them."""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from msgspec import Struct

_ROOT = Path(__file__).parent.parent
_MIGRATIONS = "ledger/migrations"


class Version(Struct, frozen=True):
    name: str
    commit: str


# From 0.1.0 on an applied migration never changes. Before it, each commit after which the texts were others.
EARLIER = tuple(
    Version(commit, commit)
    for commit in (
        "1cd025b",
        "56eb0f3",
        "47041da",
        "292a90c",
        "4315d8c",
        "8e76197",
        "79004c6",
        "ff9ebd4",
        "0b94999",
        "540cb7b",
    )
)
LANDED = (Version("0.1.0", "9f5d2a4"),)


def migrations_of(version: Version) -> dict[str, str]:
    """The texts, by file. Skips the test where the history is not there: a shallow clone, or no clone at all."""
    listed = _git("ls-tree", "--name-only", version.commit, f"{_MIGRATIONS}/").decode().split()
    return {
        Path(path).name: _git("show", f"{version.commit}:{path}").decode()
        for path in sorted(listed)
        if path.endswith(".sql")
    }


def unpack(version: Version, folder: Path) -> None:
    """All of its files, as they were. Skips as migrations_of."""
    with tarfile.open(fileobj=BytesIO(_git("archive", version.commit))) as archive:
        archive.extractall(folder, filter="data")


def _git(*arguments: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], cwd=_ROOT, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the history is not there: git {' '.join(arguments)}: {error!r}")
