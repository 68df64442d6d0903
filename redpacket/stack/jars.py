"""Kafka's jars, fetched once for all data folders of this user; a program of its own, to be stopped at any time."""

import fcntl
import hashlib
import os
import shutil
import sys
from pathlib import Path

VERSION = "4.3.1"
# Without a provider for slf4j, Kafka would log nothing.
ENDPOINT = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
# Over the names and contents of all jars: what runs here is what was tried here.
SHA256 = "ffd321fe1ac70e58d72a29b0fc42924da42b3e28f408bc9dab2284ff1e3a2e8f"


def jars_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "redpacket" / f"kafka-{VERSION}"


def fetch_jars(folder: Path) -> None:
    """Fill `folder`, wholly or not at all, one process at a time. Raises ValueError when they are not those known."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return
        half = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        scratch = folder.with_name("jgo.new")
        for jar in _build(scratch):
            shutil.copyfile(jar, half / jar.name)
            with (half / jar.name).open("rb+") as copy:
                os.fsync(copy.fileno())
        digest = digest_of(half)
        if digest != SHA256:
            raise ValueError(f"their digest is {digest}, expected was {SHA256}")
        half.rename(folder)
        shutil.rmtree(scratch)


def digest_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for jar in sorted(folder.iterdir()):
        digest.update(jar.name.encode() + b"\0" + hashlib.sha256(jar.read_bytes()).digest())
    return digest.hexdigest()


def _build(scratch: Path) -> list[Path]:
    """In a repository of its own: jgo takes what an interrupted download left in the common one for the whole file."""
    from jgo.env import EnvironmentBuilder
    from jgo.maven import MavenContext

    shutil.rmtree(scratch, ignore_errors=True)
    builder = EnvironmentBuilder(context=MavenContext(repo_cache=scratch / "repository"), cache_dir=scratch)
    made = builder.from_endpoint(ENDPOINT)
    return sorted([*(made.path / "jars").iterdir(), *(made.path / "modules").iterdir()])


if __name__ == "__main__":
    try:
        fetch_jars(Path(sys.argv[1]))
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"the jars of Kafka {VERSION} could not be fetched: {error}")
