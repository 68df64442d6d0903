"""A person's phone: sends packets, opens those that it sees, and does not give up what it has begun."""

import random
import time
from contextlib import AbstractContextManager
from typing import Any, cast

import gevent
from locust import FastHttpUser, task

from loadtest.record.recorder import Recorder
from loadtest.record.wire import read_answer, request_body, request_headers, request_line
from loadtest.record.words import Answer, Asked, Kind
from loadtest.rehearsal.board import Board
from loadtest.rehearsal.choices import choose_packet
from loadtest.rehearsal.plan import Person, Plan
from loadtest.rehearsal.scenarios import Scenario

# Longer than any request may take at the service: an answer that comes is an answer that counts.
_TIMEOUT_S = 15.0
# Back-off: at random up to the first, twice that after each further try, up to the last (AWS, "Exponential Backoff And
# Jitter": full jitter), and all of it after Retry-After.
_FIRST_WAIT_S, _LAST_WAIT_S = 0.2, 5.0
# How people react to a clock.
_REACTION_S = 0.3
# Of those who open a packet: who looks at it first, and who looks at the others' luck afterwards.
_LOOKS_FIRST, _LOOKS_AFTERWARDS = 0.2, 0.3


class Stage:
    """What the phones of one process share. `idle`: who is not there at the moment; `sends`: begun so far."""

    def __init__(self, plan: Plan, scenario: Scenario, persons: list[Person], recorder: Recorder, seed: str) -> None:
        self.plan = plan
        self.scenario = scenario
        self.recorder = recorder
        self.idle = persons
        self.seed = seed
        self.chance = random.Random(seed)
        self.board = Board(scenario.claims_per_send or 0.0, self.chance)
        self.sends = 0


class Phone(FastHttpUser):
    abstract = True
    stage: Stage
    network_timeout = _TIMEOUT_S
    connection_timeout = _TIMEOUT_S
    # Whoever repeats is to be seen in the record.
    max_retries = 0
    max_redirects = 0

    def on_start(self) -> None:
        while not self.stage.idle:  # who is going may still have something to bring to an end
            gevent.sleep(_FIRST_WAIT_S)
        self._person = self.stage.idle.pop()
        self._opened: set[str] = set()
        self._next_s = time.monotonic() + self.stage.chance.random() * self.stage.scenario.turn_s
        gevent.sleep(self.wait_time())

    def on_stop(self) -> None:
        self.stage.idle.append(self._person)

    def wait_time(self) -> float:
        """Until the next turn: of everybody, or of one's own pace, which does not slow down with the service unless a
        turn takes longer than the pace."""
        turn_s = self.stage.scenario.turn_s
        if self.stage.scenario.together:
            return turn_s - time.time() % turn_s + self.stage.chance.random() * _REACTION_S
        wait_s = self._next_s - time.monotonic()
        self._next_s = max(self._next_s, time.monotonic()) + turn_s
        return max(wait_s, 0.0)

    @task
    def turn(self) -> None:
        stage = self.stage
        if stage.plan.packets:
            number = int(time.time() // stage.scenario.turn_s) - stage.plan.first_turn
            self._open(stage.plan.packets[number % len(stage.plan.packets)])
        elif stage.board.is_time_to_send():
            self._send()
        elif (packet := stage.board.choose(self._opened)) is not None:
            self._open(packet)

    def _send(self) -> None:
        stage = self.stage
        stage.sends += 1
        # Whoever has money: people who have none would first have to be given some.
        sender = stage.plan.senders[stage.chance.randrange(len(stage.plan.senders))]
        send = Asked(
            kind="send", owner=sender.owner, key=f"{stage.seed}-{stage.sends}", body=choose_packet(stage.chance)
        )
        answer = self._ask_until_final(send, sender)
        if answer.outcome == "ok":
            stage.board.post(answer.body["id"])
        else:
            stage.board.forget_send()

    def _open(self, packet: str) -> None:
        chance = self.stage.chance
        self._opened.add(packet)
        if chance.random() < _LOOKS_FIRST:
            self._look("see_packet", packet)
        claim = Asked(kind="claim", owner=self._person.owner, packet=packet)
        if self._ask_until_final(claim, self._person).outcome == "ok":
            self.stage.board.claimed()
        if chance.random() < _LOOKS_AFTERWARDS:
            self._look("see_claims", packet)

    def _look(self, kind: Kind, packet: str) -> None:
        self._ask(Asked(kind=kind, owner=self._person.owner, packet=packet), self._person)

    def _ask_until_final(self, asked: Asked, person: Person) -> Answer:
        wait_s = _FIRST_WAIT_S
        while True:
            answer, not_before_s = self._ask(asked, person)
            if answer.outcome != "unknown":
                return answer
            gevent.sleep(not_before_s + self.stage.chance.uniform(0, wait_s))
            wait_s = min(2 * wait_s, _LAST_WAIT_S)

    def _ask(self, asked: Asked, person: Person) -> tuple[Answer, float]:
        """The answer, and for how many seconds the service wants to be left alone."""
        method, path = request_line(asked)
        with (
            self.stage.recorder.recorded(asked) as attempt,
            cast(
                "AbstractContextManager[Any]",
                self.client.request(
                    method,
                    path,
                    name=asked.kind,
                    data=cast("str | None", request_body(asked)),
                    headers=request_headers(asked, person.token),
                    catch_response=True,
                ),
            ) as response,
        ):
            if response.status_code:
                retry_after = (response.headers or {}).get("Retry-After")
                answer = read_answer(response.status_code, response.content or b"", retry_after)
            else:
                retry_after, answer = None, Answer(outcome="unknown", code=type(response.error).__name__)
            attempt.answer = answer
            if answer.outcome == "unknown":
                response.failure(f"{answer.status} {answer.code}".removeprefix("0 "))
            else:
                response.success()
        # The other form of it, a date, is none of ours.
        return answer, float(retry_after) if retry_after and retry_after.isdecimal() else 0.0
