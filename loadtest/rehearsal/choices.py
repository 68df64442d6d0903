"""Packets as people choose them."""

import random
from typing import Any, TypeVar

T = TypeVar("T")

# Shares, by how often: most packets go to one friend, the others to a family or a group.
_SHARES = {1: 40, 2: 12, 3: 14, 5: 18, 8: 6, 10: 8, 20: 2}
# Fen a share. 8 sounds like wealth, 6 like ease, 5.20 like "I love you", and nobody sends a 4.
_EACH_MINOR = {88: 18, 100: 10, 168: 8, 188: 8, 520: 8, 600: 6, 666: 12, 888: 16, 1000: 6, 1688: 4, 8888: 4}
_GREETINGS = {
    "": 50,
    "恭喜发财，大吉大利": 22,
    "新年快乐！": 12,
    "万事如意 🧧": 6,
    "Happy New Year": 6,
    "身体健康，阖家幸福，明年再见": 4,
}
_LUCKY = 0.7


def choose_packet(chance: random.Random) -> dict[str, Any]:
    """The body of a send."""
    shares, each_minor = _choose(chance, _SHARES), _choose(chance, _EACH_MINOR)
    body: dict[str, Any] = {
        "kind": "lucky" if shares > 1 and chance.random() < _LUCKY else "equal",
        "total": shares * each_minor,
        "shares": shares,
    }
    greeting = _choose(chance, _GREETINGS)
    return body | {"greeting": greeting} if greeting else body


def _choose(chance: random.Random, weights: dict[T, int]) -> T:
    return chance.choices(list(weights), list(weights.values()))[0]
