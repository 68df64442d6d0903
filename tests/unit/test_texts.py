"""What a greeting may be: anything that shows something."""

import re
from typing import get_args

import pytest
from msgspec import Meta

from service.texts import shows_something
from service.words import Text200

_, META = get_args(Text200)

VISIBLE = {
    "Chinese": "恭喜發財",
    "a full stop": ".",
    "a family, by joiners": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "a heart, by a variation selector": "\u2764\ufe0f",
    "a keycap": "1\ufe0f\u20e3",
    "a flag, by tags": "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "Arabic": "\u0633\u0644\u0627\u0645",
    "Persian with a non-joiner": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Hebrew with a mark of direction": "\u05e9\u05dc\u05d5\u05dd\u200f!",
    "Hindi with its vowels": "\u0928\u092e\u0938\u094d\u0924\u0947",
    "a letter and a mark": "e\u0301",
    "spaces around": " a ",
    "an emoji that this Unicode does not know yet": "\U0001fae8",
}
INVISIBLE = ["\u3000", "\u00a0\u2003", "\u200b", "\u200d\u200c", "\ufeff", "\u2060", "\u00ad", "\u061c", "\u200e\u200f"]
INVISIBLE += [" ", "\u2028", "\ufe0f", "\u0301", "\u0903", "\u20dd", "\u180e", "\u3164", "\u115f\u1160", "\uffa0"]
INVISIBLE += ["\u2800", "\U000e0020", "\U000e0100"]


@pytest.mark.parametrize("text", VISIBLE.values(), ids=VISIBLE)
def test_a_text_that_people_write_is_accepted(text: str) -> None:
    assert shows_something(text)
    assert isinstance(META, Meta)
    assert re.search(str(META.pattern), text)


@pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
def test_a_text_without_a_visible_character_shows_nothing(text: str) -> None:
    assert not shows_something(text)


def test_no_text_overrides_the_direction_of_what_follows() -> None:
    for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A)):
        assert not re.search(str(META.pattern), f"a{chr(code)}b")
