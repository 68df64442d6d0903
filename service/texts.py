"""Texts that people see: whether there is anything to be seen."""

import unicodedata

# Spaces, control and format characters (zero-width ones among them), and marks, which need a letter to stand on.
_INVISIBLE_CATEGORIES = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Mn", "Mc", "Me"))
# Letters and symbols that are blank, and what Unicode reserves for characters that will be. Others that it has not
# assigned yet may be next year's emoji.
_BLANK = frozenset("\u115f\u1160\u2065\u2800\u3164\uffa0") | frozenset(map(chr, range(0xFFF0, 0xFFF9)))
_RESERVED = range(0xE0000, 0xE1000)


def shows_something(text: str) -> bool:
    """Whether a reader sees anything of the text."""
    return any(
        unicodedata.category(it) not in _INVISIBLE_CATEGORIES and it not in _BLANK and ord(it) not in _RESERVED
        for it in text
    )
