"""Which models are explored, with which bounds: the short ones by `make test`, all by `make test-model`."""

from dataclasses import fields, replace

from tests.model.claims import Claims
from tests.model.closing import Closing
from tests.model.opening import Openings
from tests.model.replacing import Replacing
from tests.model.rules import Rule
from tests.model.sends import KEY, Sends
from tests.model.settling import Settling

Configuration = Claims | Closing | Openings | Replacing | Sends | Settling

CLAIMS = Claims("claims", faults=1, epochs=2)
TWO_READINGS = Claims("claims, two readings on their way", shares=1, readings=2, faults=1, epochs=2)
MEMORY = Claims("claims, sold out from memory", people="abc", shares=1, memory=True, faults=1, epochs=2)
SEND_PENDING = Claims("claims, the send unconfirmed", shares=1, send_pending=True, faults=1, epochs=2)
OPENING = Openings("opening, two owners")
OPENING_DISTURBED = Openings("opening, two faults", faults=2)
COPIES = Openings("opening, older copies", swaps=True)
RESTORED = Openings("opening, Postgres restored", owners=1, epochs=4, begun=2, faults=2, restores=1)
RESTORED_DISTURBED = replace(RESTORED, name="opening, Postgres restored, three faults", faults=3)
COMEBACK = Openings("opening, an earlier Redis comes back", owners=1, faults=2, comebacks=True, log=2)
THREE_OWNERS = Openings("opening, three owners", owners=3, epochs=4)
FOUR_EPOCHS = Openings("opening, four epochs", epochs=4)
WALLET = Sends("sends, one wallet")
KEYS = Sends("sends, one key with two terms", requests=((KEY, 1), (KEY, 2)), funds=2, credits=0, claimant=True)
WALLET_READINGS = Sends("sends, two readings on their way", readings=2, credits=0)
THREE_KEYS = ((KEY, 1), ("L", 1), ("M", 1))
RETURNS = replace(
    WALLET, name="sends, claims return", requests=THREE_KEYS, returns=True, evictions=False, faults=0, epochs=1, log=1
)
CLOSING = Closing("closing, one share", shares=1)
CLOSING_SHARED = Closing("closing, a share left", people="a")
SETTLING = Settling("settling")
REPLACING = Replacing("replacing a Redis")

SHORT: tuple[Configuration, ...] = (
    CLAIMS,
    TWO_READINGS,
    MEMORY,
    SEND_PENDING,
    OPENING,
    COPIES,
    RESTORED,
    COMEBACK,
    WALLET,
    KEYS,
    WALLET_READINGS,
    RETURNS,
    CLOSING,
    CLOSING_SHARED,
    SETTLING,
    REPLACING,
)

LONG: tuple[Configuration, ...] = (
    replace(CLAIMS, name="claims, two faults", faults=2, epochs=3),
    replace(CLAIMS, name="claims, three people and memory", people="abc", memory=True),
    replace(SEND_PENDING, name="claims, the send unconfirmed, two shares", shares=2),
    replace(TWO_READINGS, name="claims, two readings, two faults", faults=2, epochs=3),
    OPENING_DISTURBED,
    FOUR_EPOCHS,
    replace(FOUR_EPOCHS, name="opening, four epochs, two faults", faults=2),
    THREE_OWNERS,
    replace(COPIES, name="opening, older copies, two faults", faults=2),
    RESTORED_DISTURBED,
    replace(RESTORED_DISTURBED, name="opening, Postgres restored, two owners", owners=2),
    replace(WALLET, name="sends, two workers", workers=2),
    replace(WALLET, name="sends, two faults", faults=2, epochs=3),
    replace(WALLET, name="sends, two readings and a credit", readings=2),
    replace(WALLET, name="sends, nothing at first and two credits", funds=0, credits=2),
    replace(RETURNS, name="sends, claims return, a fault", faults=1, epochs=2, log=2),
    replace(KEYS, name="sends, one key, two of everything", workers=2, readings=2, faults=2, epochs=3),
    replace(CLOSING, name="closing, two people, two shares", shares=2),
    replace(CLOSING_SHARED, name="closing, two faults", faults=2, epochs=3),
    replace(SETTLING, name="settling, three at once", batch=3, faults=3),
    replace(COMEBACK, name="opening, an earlier Redis comes back, two owners", owners=2),
    replace(REPLACING, name="replacing a Redis, three owners", owners=(0, 0, 1), epochs=6),
)

# Where each rule is missed.
MISSED_IN: dict[Rule, Configuration] = {
    Rule.FENCE_FIRST: OPENING,
    Rule.RUN_ID: COPIES,
    Rule.REPLID: COPIES,
    Rule.EPOCH_IN_KEYS: CLAIMS,
    Rule.ERROR_CLOSES: CLAIMS,
    Rule.CONFIRM_AFTER_ACK: CLAIMS,
    Rule.CONFIRM_UNDER_ITS_EPOCH: CLAIMS,
    Rule.PUBLISH_UNDER_ITS_EPOCH: CLAIMS,
    Rule.ENTRY_THERE_IS_NO_200: CLAIMS,
    Rule.WHOLE_ENTRY: CLAIMS,
    Rule.REPEATS_BEFORE_STATE: CLAIMS,
    Rule.SEND_CONFIRMED_FIRST: SEND_PENDING,
    Rule.BUSY: TWO_READINGS,
    Rule.MEMORY_WHEN_CONFIRMED: MEMORY,
    Rule.MEMORY_NOT_FOR_WINNERS: MEMORY,
    Rule.LOAD_ABOVE_FLOOR: CLAIMS,
    Rule.LOAD_NEVER_OVER: CLAIMS,
    Rule.LOAD_WHOLE: CLAIMS,
    Rule.PROOF_OF_ABSENCE: KEYS,
    Rule.NOT_FOUND_PROVED: KEYS,
    Rule.READING_OF_ALL: WALLET,
    Rule.SHORT_BEFORE_READ: RETURNS,
    Rule.RESERVED_IS_REDISES: WALLET,
    Rule.EVICT_EQUAL: CLAIMS,
    Rule.EVICT_RAISES_FLOOR: TWO_READINGS,
    Rule.CLOSE_BEFORE_FENCE: OPENING,
    Rule.BLESS_THIS_OPENING: OPENING_DISTURBED,
    Rule.BLESS_ONCE: OPENING_DISTURBED,
    Rule.ONE_PASS: OPENING,
    Rule.FENCE_RAISED: RESTORED_DISTURBED,
    Rule.LAST_TAKEN: FOUR_EPOCHS,
    Rule.FLOOR_AT_BLESS: CLAIMS,
    Rule.LOWER_EPOCHS_IGNORED: CLAIMS,
    Rule.HIGHEST_FENCE: SETTLING,
    Rule.OFFSET_MOVES_ONCE: SETTLING,
    Rule.ROWS_ONCE: SETTLING,
    Rule.REFUND_WHEN_DRAINED: CLOSING_SHARED,
    Rule.CLOSED_STAYS_CLOSED: CLOSING_SHARED,
    Rule.LEFT_BEHIND_IS_OPENED: COMEBACK,
    Rule.KNOWN_EPOCHS: COMEBACK,
    Rule.ITS_OWN_GENERATION: REPLACING,
    Rule.REPLACED_WHEN_CLOSED: REPLACING,
}


def without(rule: Rule) -> Configuration:
    return replace(MISSED_IN[rule], without=rule)


def bounds(model: Configuration) -> str:
    values = {
        field.name: getattr(model, field.name) for field in fields(model) if field.name not in ("name", "without")
    }
    named = (name if value is True else f"{name} {value}" for name, value in values.items() if value is not False)
    return ", ".join(name for name in named if not name.startswith("requests"))
