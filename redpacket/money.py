"""What an amount and an owner may be, checked at the door and nowhere else."""

from typing import Annotated

from msgspec import Meta

# Redis counts in doubles, which are exact up to 2^53: a wallet may see 9,000 amounts of this size come in.
AMOUNT_MAX_MINOR = 10**12

AmountMinor = Annotated[
    int, Meta(ge=1, le=AMOUNT_MAX_MINOR, description="Minor units (fen of CNY): an integer.", examples=[1000])
]
# The end of the text as browsers know it too: `$` would let a line end through, `\Z` is Python's alone.
Owner = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._:-]{1,64}(?![\s\S])",
        description="1-64 of A-Z a-z 0-9 . _ : - and its wallet is there as soon as somebody names it.",
        examples=["alice"],
    ),
]
