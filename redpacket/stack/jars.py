"""Kafka's jars, fetched once for all data folders of this user; a program of its own, to be stopped at any time.

jgo fetches each; which ones, and that they are the right ones, says jars.txt. To find that out itself takes it 15 s.
"""

import fcntl
import hashlib
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK = Path(__file__).with_name("jars.txt")
AT_ONCE = 8


def jars_folder() -> Path:
    """Another one for another list, so that a list that has changed is fetched."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "redpacket" / f"kafka-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"


def fetch_jars(folder: Path) -> None:
    """Fill `folder`, wholly or not at all, one process at a time. Raises OSError, RuntimeError and ValueError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return
        half = folder.with_name(f"{folder.name}.new")
        # A repository of its own, emptied: jgo takes what an interrupted download left for the whole file.
        repository = folder.with_name(f"{folder.name}.repository")
        for scratch in (half, repository):
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
        _fetch_all(repository, half)
        half.rename(folder)
        shutil.rmtree(repository)


def _fetch_all(repository: Path, folder: Path) -> None:
    from jgo.maven import MavenContext

    lines = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(partial(_fetch, MavenContext(repo_cache=repository), folder), lines))


def _fetch(context: "MavenContext", folder: Path, line: str) -> None:
    coordinates, sha256 = line.split()
    group, name, version = coordinates.split(":")
    content = context.project(group, name).at_version(version).artifact().resolve().read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{coordinates} has another hash than in {LOCK.name}")
    with (folder / f"{name}-{version}.jar").open("wb") as jar:
        jar.write(content)
        jar.flush()
        os.fsync(jar.fileno())


if __name__ == "__main__":
    try:
        fetch_jars(Path(sys.argv[1]) if len(sys.argv) > 1 else jars_folder())
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"the jars of Kafka could not be fetched: {error}")
