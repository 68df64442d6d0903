"""Whose folder it is: what the stack has not made it neither takes, nor changes, nor removes."""

import os
from pathlib import Path

import pytest

from redpacket.stack.error import StackError
from redpacket.stack.files import make_folder
from redpacket.stack.folder import check_folder, own_folder, resolve_folder
from redpacket.stack.logs import Log
from redpacket.stack.redis import Redis
from redpacket.stack.sockets import PATH_BYTES_MAX, POSTGRES, remove_elsewhere, socket_folder

SOMEBODYS = ("redis/dump.rdb", "postgres.new/thesis", "kafka.new/thesis", "kafka.properties", "lock", "thesis")
# Of a folder that a version without marks has made.
EARLIER = {
    "ports.json": '{"postgres":1,"redis":2,"kafka":3,"kafka_controller":4}',
    "postgres/PG_VERSION": "18\n",
    "kafka/meta.properties": "version=1\ncluster.id=x\nnode.id=1\n",
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", SOMEBODYS)
def test_a_folder_that_is_not_empty_and_was_not_made_here_is_refused_and_stays_as_it_is(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path, {name: "years of work"})
    with pytest.raises(StackError, match="no stack has made it"):
        own_folder(tmp_path)
    assert contents(tmp_path) == {name: "years of work"}


def test_a_new_folder_is_marked_and_closed_and_known_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "lock").write_text(f"{os.getpid()}\n")
    own_folder(data)
    write(data, {"thesis": "years of work"})
    data.chmod(0o755)
    own_folder(data)
    assert data.stat().st_mode & 0o777 == 0o700
    assert contents(data)["thesis"] == "years of work"


def test_a_folder_of_an_earlier_version_is_known_by_what_it_holds(tmp_path: Path) -> None:
    for missing in EARLIER:
        folder = tmp_path / missing.replace("/", "-")
        write(folder, {name: text for name, text in EARLIER.items() if name != missing})
        with pytest.raises(StackError, match="no stack has made it"):
            check_folder(folder)
    write(tmp_path / "data", EARLIER)
    own_folder(tmp_path / "data")
    for name in EARLIER:
        assert (tmp_path / "data" / name).parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["postgres", "kafka", "redis", "keys", "logs", "lock", "kafka.properties"])
def test_a_part_that_is_a_link_is_not_followed(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    own_folder(data)
    (data / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StackError, match=f"{name} is a link"):
        check_folder(data)


def test_a_log_that_is_a_link_is_not_written(tmp_path: Path) -> None:
    write(tmp_path, {"letter": "dear"})
    (tmp_path / "kafka.log").symlink_to(tmp_path / "letter")
    with pytest.raises(OSError, match=r"kafka\.log"):
        Log(tmp_path / "kafka.log").open()
    assert (tmp_path / "letter").read_text() == "dear"


async def test_what_lies_in_the_way_of_a_new_part_is_removed_only_where_it_was_made_here(tmp_path: Path) -> None:
    async def cut(folder: Path) -> None:
        (folder / "heart").touch()
        raise StackError("cut")

    async def make(folder: Path) -> None:
        (folder / "heart").touch()

    write(tmp_path, {"part.new/thesis": "years of work"})
    with pytest.raises(StackError, match="is in the way"):
        await make_folder(tmp_path / "part", "heart", make)
    assert contents(tmp_path) == {"part.new/thesis": "years of work"}
    with pytest.raises(StackError, match="cut"):
        await make_folder(tmp_path / "other", "heart", cut)
    await make_folder(tmp_path / "other", "heart", make)
    assert set(contents(tmp_path)) == {"part.new/thesis", "other/heart"}


async def test_of_redis_nothing_is_removed_but_a_dump(tmp_path: Path) -> None:
    write(tmp_path, {"redis/dump.rdb": "old", "redis/thesis": "years of work"})
    await Redis(tmp_path / "redis", tmp_path).prepare(Log(tmp_path / "log"), lambda _: None)
    assert contents(tmp_path) == {"redis/thesis": "years of work"}


def test_a_ledger_that_was_moved_away_beside_its_log_is_missed(tmp_path: Path) -> None:
    write(tmp_path, EARLIER)
    (tmp_path / "kafka" / "__cluster_metadata-0").mkdir()
    own_folder(tmp_path)
    (tmp_path / "postgres").rename(tmp_path / "postgres.kept")
    check_folder(tmp_path)  # a first start was cut: the log is empty
    (tmp_path / "kafka" / "redpacket-1234-0").mkdir()
    with pytest.raises(StackError, match=r"postgres is gone, and .*kafka has the log of its ledger: put it back"):
        check_folder(tmp_path)
    (tmp_path / "postgres.kept").rename(tmp_path / "postgres")
    check_folder(tmp_path)


def test_a_folder_has_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, link = tmp_path / "data", tmp_path / "link"
    data.mkdir()
    link.symlink_to(data)
    monkeypatch.chdir(data)
    for spelled in (f"/{data}", f"{data}/", f"{link}", "../data", ".", f"{tmp_path}/./x/../data"):
        assert str(resolve_folder(Path(spelled))) == str(data)
    for wrong in ("a\nb", "a\0b", "a\x1bb"):
        with pytest.raises(StackError, match="cannot be the name of a data folder"):
            resolve_folder(Path(wrong))
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(StackError, match="cannot be the name"):
        resolve_folder(link)


def test_sockets_of_a_folder_with_a_long_name_lie_in_a_short_one(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 30)
    data.mkdir()
    short = socket_folder(data)
    assert len(os.fsencode(short / POSTGRES)) <= PATH_BYTES_MAX
    assert short.stat().st_mode & 0o777 == 0o700
    assert socket_folder(data) == short
    short.rmdir()  # somebody has cleaned up
    assert socket_folder(data) == short
    assert short.is_dir()
    (short / "thesis").touch()
    remove_elsewhere(data)
    assert (short / "thesis").exists()
    (short / "thesis").unlink()
    remove_elsewhere(data)
    assert not short.exists()
    assert not os.path.lexists(data / "sockets")
