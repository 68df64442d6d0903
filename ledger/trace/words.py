"""A story, for people."""

from collections.abc import Iterator

import msgspec

from ledger.trace.story import LogPlace, Posting, Side, Step, Story


def format_story(story: Story) -> str:
    """Several lines for each movement: what was asked, then what each store holds of it."""
    return "\n".join(_lines(story))


def format_json(story: Story) -> str:
    return msgspec.json.format(msgspec.json.encode(story)).decode()


def _lines(story: Story) -> Iterator[str]:
    for step in story.steps:
        yield step.title
        yield f"  request   {_request(step)}"
        yield f"  Redis     {step.redis}"
        yield f"  log       {_place(step.log) if step.log else 'not there, as far as it goes now'}"
        yield f"  ledger    {_posting(step.ledger) if step.ledger else 'not settled'}"
    for letter in story.letters:
        yield f"dead letter {letter.name}, {letter.decision or 'waits for a decision: redpacket deadletters'}"
        yield f"  {letter.reason}"
        yield f"  {letter.event}"
    if story.untold:
        yield f"and {story.untold} claims: `redpacket trace ID --owner OWNER` tells one"
    if story.more:
        yield f"and more: these are the first {len(story.steps)} movements that this request has asked for"


def _request(step: Step) -> str:
    event = step.log.event if step.log else None
    id = step.ledger.request if step.ledger else event.request if event else ""
    return id or "none: the shard's owner did it, or a version that kept none"


def _place(place: LogPlace) -> str:
    where = f"partition {place.shard} offset {place.kafka_offset} item {place.item}"
    if place.event is None:
        return f"{where}: the log does not keep it any more"
    return f"{where}, of epoch {place.epoch}, entry {place.entry}: {place.event}"


def _posting(posting: Posting) -> str:
    moved = f"{posting.amount_minor} from {_side(posting.debit)} to {_side(posting.credit)}"
    return f"{posting.kind} at {posting.at}: {moved}"


def _side(side: Side) -> str:
    return f"{side.owner}'s {side.kind} (entry {side.version}, balance {side.balance_minor})"
