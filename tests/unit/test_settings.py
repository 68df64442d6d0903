from pathlib import Path

import pytest
from click.testing import CliRunner

from redpacket.cli import main
from redpacket.settings import Settings, SettingsError, check_places, read_key, read_settings, settings_environ

NEEDED = {
    "REDPACKET_POSTGRES_URL": "postgresql://db",
    "REDPACKET_REDIS_URL": "redis://cache",
    "REDPACKET_KAFKA_BOOTSTRAP": "log:9092",
    "REDPACKET_KEYS_DIR": "/keys",
}


def test_settings_are_read_from_the_environment_and_written_back() -> None:
    settings = read_settings(NEEDED | {"REDPACKET_SHARDS": "4", "PATH": "/bin"})
    assert settings.shards == 4
    assert read_settings(settings_environ(settings)) == settings


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"REDPACKET_SHARDS": "0"}, "REDPACKET_SHARDS"),
        ({"REDPACKET_SHARDS": "many"}, "REDPACKET_SHARDS"),
        ({"REDPACKET_CURRENCY": "yuan"}, "REDPACKET_CURRENCY"),
        ({"REDPACKET_SHARD": "4"}, "unknown: REDPACKET_SHARD;"),
        ({"REDPACKET_MEMORY_EVICT_MIB": "9", "REDPACKET_MEMORY_REFUSE_MIB": "8"}, "REDPACKET_MEMORY_REFUSE_MIB"),
    ],
)
def test_a_wrong_or_unknown_setting_is_named(change: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_settings(NEEDED | change)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("POSTGRES_URL", it) for it in ("", "rubbish", "http://db", "postgresql://db:x/y", "postgresql://[")),
        *(("REDIS_URL", it) for it in ("", "rubbish", "cache:6379", "redis://cache:99999/0", "redis://[")),
        *(("KAFKA_BOOTSTRAP", it) for it in ("", "log:x", "http://log", "log:9092,", ":::", ":9092", "log:0")),
    ],
)
def test_a_place_that_cannot_be_one_is_named_by_each_command(name: str, value: str) -> None:
    for command in (["migrate"], ["api"], ["ledger"], ["deadletters", "list", "--data", "/nowhere"]):
        done = CliRunner().invoke(main, command, env=NEEDED | {f"REDPACKET_{name}": value})
        assert (done.exit_code, f"REDPACKET_{name} cannot be" in done.stderr) == (1, True), done.output
        # Not even where the rest of it is right: it may hold a password.
        assert len(value) < 5 or value not in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"REDPACKET_POSTGRES_URL": "postgresql:///redpacket?host=/run/postgres"},
        {"REDPACKET_REDIS_URL": "unix:///run/redis.sock", "REDPACKET_KAFKA_BOOTSTRAP": "a:9092, [::1]:9093,c"},
        {"REDPACKET_REDIS_URL": "rediss://:word@cache:6380/0", "REDPACKET_POSTGRES_URL": "postgres://a:b@c:1/d"},
    ],
)
def test_places_that_can_be_are_taken(change: dict[str, str]) -> None:
    check_places(read_settings(NEEDED | change))


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="REDPACKET_POSTGRES_URL"):
        read_settings({})


def test_the_example_file_gives_working_settings_and_names_each_of_them() -> None:
    lines = (Path(__file__).parents[2] / ".env.example").read_text().splitlines()
    named = dict(line.lstrip("# ").split("=", 1) for line in lines if "REDPACKET_" in line and "=" in line)
    assert read_settings(named)
    assert {name.removeprefix("REDPACKET_").lower() for name in named} == set(Settings.__struct_fields__)


def test_a_key_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    settings = read_settings(NEEDED | {"REDPACKET_KEYS_DIR": str(tmp_path)})
    (tmp_path / "id.key").write_text("00" * 31)
    with pytest.raises(SettingsError, match="31 bytes"):
        read_key(settings, "id.key")
    with pytest.raises(SettingsError, match=r"split\.key"):
        read_key(settings, "split.key")
