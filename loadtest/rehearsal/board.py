"""The packets that people see, and whether it is time to send one."""

import random
from collections import deque

# As far as people scroll back.
_SEEN = 60


class Board:
    """Of one process of the generator: its people send to each other."""

    def __init__(self, claims_per_send: float, chance: random.Random) -> None:
        self._claims_per_send = claims_per_send
        self._chance = chance
        self._packets: deque[str] = deque(maxlen=_SEEN)
        self._sent = 0
        self._claimed = 0

    def is_time_to_send(self) -> bool:
        """True as often as it takes for `claims_per_send` shares to be claimed for each packet that is sent."""
        if self._claimed < self._sent * self._claims_per_send:
            return False
        self._sent += 1
        return True

    def post(self, packet: str) -> None:
        """It was sent, and everybody sees it."""
        self._packets.append(packet)

    def claimed(self) -> None:
        """A share was."""
        self._claimed += 1

    def forget_send(self) -> None:
        """It came to nothing, and somebody else sends one."""
        self._sent -= 1

    def choose(self, opened: set[str]) -> str | None:
        """One that the person has not opened, rather a new one; None where there is none."""
        unopened = [packet for packet in self._packets if packet not in opened]
        if not unopened:
            # Counts as a claim: few people would else wait for each other for ever.
            self._claimed += bool(self._packets)
            return None
        # Of two at random the newer.
        return unopened[max(self._chance.randrange(len(unopened)) for _ in range(2))]
