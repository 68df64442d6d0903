"""Whatever a person types behind a command is answered with a sentence, never with a traceback."""

import socket
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from redpacket.cli import main
from redpacket.settings import Settings, settings_environ

RUBBISH = (
    *(
        "",
        " ",
        "\n",
        "a\nb",
        "☃",
        "\udcff",
        "-",
        "--",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-1",
        "0",
        "1.5",
        "0x10",
        "\uff11",
    ),
    *("9" * 30, "9" * 5_000, "x" * 300, "x" * 100_000, "../" * 2_000, "/dev/null", "/dev/null/x", "~", "%s", "{}"),
    *("http://", "http://[", "http://x:99999999", "http://x:y", "http://:80", "http://a..b", "//x", "file:///etc"),
    *(f"http://{'a' * 100}", "http://127.0.0.1:1?a=b", "ftp://127.0.0.1", "1,", "1,,2", "16,nan", "0,1", "1," * 1_000),
    *("0001-01-01", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+23:59", "yesterday", "api-0", "1-1", "9-9-9"),
)
# What makes the other parameters of a command whole.
ARGUMENTS = {
    "name": "steady",
    "packet": "f" * 38,
    "id": "f" * 38,
    "owner": "alice",
    "letter": "1-1",
    "kind": "api",
}


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


PARAMETERS = [
    pytest.param(path, command, parameter, id=f"{' '.join(path)} {parameter.name}")
    for path, command in _commands(main)
    for parameter in command.params
    if not (isinstance(parameter, click.Option) and parameter.is_flag)
]


async def _started(*_: object, **__: object) -> Any:
    """In the place of what a command would start or play: it got so far, and nothing is to be started here."""
    raise KeyboardInterrupt


def _create_server(address: tuple[str, int], **_: Any) -> socket.socket:
    """No name is looked up: where there is nobody to ask, that takes its time."""
    address[0].encode("idna")
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("redpacket.stack.up.run_up", _started)
    monkeypatch.setattr("loadtest.bench.run.run_bench", _started)
    monkeypatch.setattr("redpacket.cli.rehearsal._rehearse_on", _started)
    monkeypatch.setattr("service.worker.serve_api", _started)
    monkeypatch.setattr("socket.create_server", _create_server)


def _argv(path: tuple[str, ...], command: click.Command, tried: click.Parameter, value: str) -> list[str]:
    argv = [*path]
    if isinstance(tried, click.Option):
        # In one word, so that one that begins with a dash is taken for a value, too.
        argv.append(f"{max(tried.opts, key=len)}={value}")
        if tried.name in ("url", "token"):
            argv += ["--token=a.b.c" if tried.name == "url" else "--url=http://127.0.0.1:1"]
    arguments = [it for it in command.params if isinstance(it, click.Argument)]
    return [*argv, "--", *(value if it is tried else ARGUMENTS[str(it.name)] for it in arguments)]


def _is_a_sentence(done: Result) -> bool:
    told = isinstance(done.exception, SystemExit | None) and "Traceback" not in done.output
    return told and done.exit_code in (0, 1, 2) and (done.exit_code == 0 or "Error: " in done.stderr)


@pytest.mark.parametrize(("path", "command", "parameter"), PARAMETERS)
def test_rubbish_is_answered_with_a_sentence_that_names_the_option(
    path: tuple[str, ...], command: click.Command, parameter: click.Parameter, tmp_path: Path
) -> None:
    settings = Settings(
        postgres_url="postgresql://127.0.0.1:1/x",
        redis_url="redis://127.0.0.1:1/0",
        kafka_bootstrap="127.0.0.1:1",
        keys_dir=str(tmp_path),
    )
    for value in RUBBISH:
        argv = _argv(path, command, parameter, value)
        done = CliRunner().invoke(main, argv, env=settings_environ(settings), prog_name="redpacket")
        trace = "".join(traceback.format_exception(done.exception)) if done.exception else ""
        assert _is_a_sentence(done), (argv, done.exit_code, done.output, trace)
        if "Invalid value" in done.stderr:
            assert done.exit_code == 2
            names = (*parameter.opts, parameter.make_metavar(click.Context(command)))
            assert any(name in done.stderr for name in names), done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ["rehearse", "steady", "--minutes", "nan"],
        ["rehearse", "steady", "--minutes", "inf"],
        ["rehearse", "steady", "--minutes", "0"],
        ["rehearse", "steady", "--minutes", "-1"],
        ["rehearse", "steady", "--host", "nowhere"],
        ["rehearse", "steady", "--host", "http://"],
        ["bench", "--seconds", "nan"],
        ["bench", "--connections", "99999999"],
        ["verify", "x", "--url", "nowhere", "--token", "a"],
        ["verify", "x", "--url", "http://127.0.0.1:1", "--token", "a\nb"],
        ["verify", "x", "--url", "http://127.0.0.1:1", "--token", "ä"],
        ["up", "--data", ""],
        ["up", "--redis-server", "no-such-program"],
        ["deadletters", "replay", "1"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused_with_status_2_before_anything_starts(argv: list[str]) -> None:
    done = CliRunner().invoke(main, argv, prog_name="redpacket")
    assert (done.exit_code, "Invalid value" in done.stderr) == (2, True), done.output
