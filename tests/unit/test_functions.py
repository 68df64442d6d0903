"""What every function in Redis does first, read from its text."""

import re
from importlib.resources import files

# These make the fence, or are about the whole server.
_BEFORE_IT = {"close", "bless", "mark"}


def test_every_function_looks_at_the_fence_and_at_what_its_caller_believes() -> None:
    text = "\n".join(it.read_text() for it in (files("redpacket.shard") / "lua").iterdir() if it.name.endswith(".lua"))
    callbacks = set(re.findall(r"callback = (\w+)", text))
    bodies = dict(re.findall(r"^local function (\w+)\(keys, args\)\n(.*?)^end$", text, re.MULTILINE | re.DOTALL))
    assert len(callbacks) > 20
    assert {name for name in callbacks if "open_fence(keys, args)" not in bodies.get(name, "")} == _BEFORE_IT
