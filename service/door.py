"""What stands before everything else: how much is let in at once, the way out, and the last word on errors."""

import asyncio
import time
from collections.abc import Iterable

from redpacket.ops import metrics
from redpacket.ops.health import METHODS, PROBES, HealthApp
from redpacket.ops.request_id import HEADER, begin_request
from service.claims import App, Receive, Scope
from service.problems import Code, Message, ProblemError, Send, answer_problem, problem_of

# Whoever watches this worker has to see these also when it is full.
_PROBES = frozenset(path.encode() for path in PROBES)


class Door:
    """At most `in_flight_max` requests at once, each with an id that its answer tells. Once `stop` is set, every answer
    asks its client to move away. `health_paths`: those of `health` that are here."""

    def __init__(
        self, app: App, health: HealthApp, health_paths: Iterable[str], stop: asyncio.Event, in_flight_max: int
    ) -> None:
        self._app = app
        self._health = health
        self._stop = stop
        self._in_flight_max = in_flight_max
        self._in_flight = 0
        self._health_paths = frozenset(path.encode() for path in health_paths)
        metrics.IN_FLIGHT.set_function(lambda: self._in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        id = begin_request(next((value for name, value in scope["headers"] if name == HEADER), None)).encode()
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = [(HEADER, id), (b"connection", b"close")] if self._stop.is_set() else [(HEADER, id)]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        health = scope["raw_path"] in self._health_paths and scope["method"] in METHODS
        if self._in_flight >= self._in_flight_max and not (health and scope["raw_path"] in _PROBES):
            await answer_problem(send_on, ProblemError(Code.OVERLOADED, "Too many requests are under way here."))
            return
        self._in_flight += 1
        try:
            await (self._health if health else self._app)(scope, receive, send_on)
        except asyncio.CancelledError:
            # At the end of a drain. uvicorn would say 500.
            if not started:
                await answer_problem(send_on, problem_of(TimeoutError("the worker stops")))
            raise
        except Exception as error:  # noqa: BLE001 problem_of logs what nobody expected
            problem = problem_of(error)
            if not started:
                await answer_problem(send_on, problem)
        finally:
            self._in_flight -= 1
            metrics.REQUEST_SECONDS.observe(time.perf_counter() - began)
