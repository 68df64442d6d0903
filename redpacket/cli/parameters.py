"""What options and arguments may be: rubbish is refused with a sentence that names the option, and exit status 2."""

import math
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import click

from redpacket.stack.error import StackError
from redpacket.stack.folder import resolve_folder

# The data folder of the local stack.
DEFAULT = Path("data")

T = TypeVar("T")

# Far above what an owner, an id or a request's id can be.
_TEXT_MAX = 256
# Of a generator: beyond it a machine runs out of ports.
_CONNECTIONS_MAX = 10_000
_SHOWN_MAX = 80


class _Checked(click.ParamType[T], Generic[T]):
    """What `check` makes of the text; it raises ValueError with what is wrong about it."""

    def __init__(self, name: str, check: Callable[[str], T]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        text = str(value)
        try:
            return self._check(text)
        except ValueError as error:
            shown = text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
            self.fail(f"{shown!r} {error}", param, ctx)


class _Finite(click.FloatRange):
    """click takes nan, which is neither below nor above anything, for a number within the range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


def finite(least: float, most: float) -> click.FloatRange:
    return _Finite(least, most)


def _folder(text: str) -> Path:
    """There, or to be made: in the one spelling that all compare."""
    if not text:
        raise ValueError("names no folder: is a variable not set?")
    try:
        folder = resolve_folder(Path(text))
        found = folder.stat()
    except StackError as error:
        raise ValueError(str(error)) from None
    except FileNotFoundError:
        return folder
    except OSError as error:
        raise ValueError(f"cannot be a folder: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise ValueError("is no folder, but something else")
    return folder


def _url(text: str) -> str:
    import httpx

    wanted = "is no URL of a service, as http://127.0.0.1:8000 is"
    try:
        url, port = httpx.URL(text), urlsplit(text).port  # httpx takes a port of any size
        url.host.encode("idna")  # as the resolver is asked
    except (httpx.InvalidURL, ValueError):
        raise ValueError(wanted) from None
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment or port == 0:
        raise ValueError(wanted)
    return text.rstrip("/")


def _redis_url(text: str) -> str:
    try:
        url = urlsplit(text)
        if url.scheme in ("redis", "rediss", "unix") and url.port != 0 and text.isprintable():
            return text
    except ValueError:
        pass
    raise ValueError("is no URL of a Redis, as redis://127.0.0.1:6379/0 is")


def _token(text: str) -> str:
    if not text.isascii() or not text.isprintable() or not text or " " in text:
        raise ValueError("cannot be a token: ASCII without spaces is wanted")
    return text


def _text(text: str) -> str:
    """What no id and no owner can be is said, and looked for nowhere."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not text in UTF-8") from None
    if not text:
        raise ValueError("is empty")
    if len(text) > _TEXT_MAX:
        raise ValueError(f"has {len(text)} characters, more than {_TEXT_MAX}")
    return text


def _program(text: str) -> str:
    if shutil.which(text) is None:
        raise ValueError("is not on PATH")
    return text


def _numbers(text: str) -> list[int]:
    numbers = [int(number) if number.isdecimal() and len(number) < 10 else 0 for number in text.split(",")]
    if not all(1 <= number <= _CONNECTIONS_MAX for number in numbers):
        raise ValueError(f"is no list of numbers from 1 to {_CONNECTIONS_MAX}, as 16,64 is")
    return numbers


FOLDER = _Checked("FOLDER", _folder)
URL = _Checked("URL", _url)
REDIS_URL = _Checked("URL", _redis_url)
TOKEN = _Checked("TOKEN", _token)
TEXT = _Checked("TEXT", _text)
PROGRAM = _Checked("PROGRAM", _program)
NUMBERS = _Checked("N,N,...", _numbers)
