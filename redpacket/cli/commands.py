"""All commands as one group, which says what it means that one of them was interrupted."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from redpacket.ops.signals import stop_signals


class CommandInterruptedError(click.ClickException):
    """A status of its own: 1 would say that a check has found something."""

    exit_code = 2


class Commands(click.Group):
    def invoke(self, context: click.Context) -> Any:
        with _signals_as_ctrl_c():
            try:
                return super().invoke(context)
            except (KeyboardInterrupt, asyncio.CancelledError):
                raise CommandInterruptedError("interrupted before its end") from None


@contextmanager
def _signals_as_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, too, as long as no event loop has taken them over."""
    handlers = {number: signal.signal(number, signal.default_int_handler) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
