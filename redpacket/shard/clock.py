"""Redis's clock, as far as this process has learned it from answers: deadlines are judged there, not here."""

import asyncio


class RedisClock:
    def __init__(self) -> None:
        self._offset_ms: int | None = None

    def learn(self, now_ms: int) -> None:
        """An answer that has just come said that it is `now_ms` there."""
        self._offset_ms = now_ms - int(asyncio.get_running_loop().time() * 1000)

    def redis_ms(self, loop_time_s: float) -> int:
        """The time there when the event loop's clock shows `loop_time_s`; 0 while nothing is known."""
        return 0 if self._offset_ms is None else int(loop_time_s * 1000) + self._offset_ms
