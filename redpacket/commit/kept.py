"""A memory of what was computed, bounded by bytes: what was used last stays."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """`weigh` says how many bytes a value takes together with its key and its place here. One value always fits."""

    def __init__(self, limit_bytes: int, weigh: Callable[[V], int]) -> None:
        self._limit_bytes = limit_bytes
        self._weigh = weigh
        self._values: OrderedDict[K, V] = OrderedDict()
        self.bytes = 0

    def get(self, key: K) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        before = self._values.pop(key, None)
        if before is not None:
            self.bytes -= self._weigh(before)
        self._values[key] = value
        self.bytes += self._weigh(value)
        while self.bytes > self._limit_bytes and len(self._values) > 1:
            _, dropped = self._values.popitem(last=False)
            self.bytes -= self._weigh(dropped)
