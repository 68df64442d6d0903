"""The rules of the protocol. Each is a switch in the models: taken away, a model finds what it was for.

A rule's number, R1 and on, is its place here. `why` says what happens without it, `step` where a model keeps it, `code`
what carries it.
"""

from enum import Enum


class Rule(Enum):
    """Named by what is done."""

    # The fence: which Redis may answer.
    FENCE_FIRST = (
        "Every function looks at the fence first: where it is missing or not open, nothing is done",
        "what a closed shard still holds may be half written",
        "opening: Openings._epoch",
        "open_fence in fence.lua",
    )
    RUN_ID = (
        "The fence names the process that was blessed, by run_id",
        "one that restarted with an older copy would give its shares out again",
        "opening: Openings._epoch",
        "open_fence, this_process in fence.lua",
    )
    REPLID = (
        "... and by master_replid",
        "one that was demoted, synced from an older copy and promoted again keeps its run_id",
        "opening: Openings._epoch",
        "open_fence, this_process in fence.lua",
    )
    EPOCH_IN_KEYS = (
        "The epoch is in the name of every data key",
        "what an older epoch left, unconfirmed or half written, would look confirmed under the new one",
        "claims: Claims._open; opening: Openings._close",
        "open_fence (prefix) in fence.lua",
    )
    ERROR_CLOSES = (
        "An error while writing closes the shard",
        "a claim is written, its entry is not: it looks confirmed and is in no record",
        "claims: Claims._half_written",
        "guarded in fence.lua",
    )
    # Reserve, publish, confirm, repeat.
    CONFIRM_AFTER_ACK = (
        "An entry is confirmed only after Kafka has acknowledged its record",
        "what was acknowledged to a person dies with its worker or its Redis",
        "claims: Claims._confirm",
        "Lane._commit, Repeater._repeat",
    )
    CONFIRM_UNDER_ITS_EPOCH = (
        "An entry is confirmed under the epoch of its reservation only",
        "an entry of a lost epoch is absent too, and its record is ignored",
        "claims: Claims.confirmed",
        "confirm_entries in outbox.lua",
    )
    PUBLISH_UNDER_ITS_EPOCH = (
        "A record carries the epoch of its entry, whoever publishes it and when",
        "under a newer epoch it would be applied, and its shares are free again there",
        "claims: Claims._publish",
        "Lane._commit, Repeater._repeat",
    )
    ENTRY_THERE_IS_NO_200 = (
        "An item whose entry is still in the outbox is no 200",
        "it may die with this Redis",
        "claims: Claims._decide_claim",
        "decide_claim in claim.lua, decide_operation in operation.lua",
    )
    WHOLE_ENTRY = (
        "A repeat publishes the whole entry, not only its own item",
        "the confirm deletes the entry, and with it what was never published",
        "claims: Claims._repeat",
        "Repeater._repeat, for CommitPath._see_to_entry and Relay.relay",
    )
    REPEATS_BEFORE_STATE = (
        "Repeats are looked at before any state",
        "a winner would be told sold out",
        "claims: Claims._decide_claim",
        "decide_claim in claim.lua",
    )
    SEND_CONFIRMED_FIRST = (
        "Nothing is decided about a packet while its own send is unconfirmed",
        "a claim would reach the ledger whose packet never does",
        "claims: Claims._decide_claim",
        "decide_claim in claim.lua",
    )
    BUSY = (
        "No 409, no 410 and no 402 because of something unconfirmed",
        "it may die, and the share, the packet or the money is there again",
        "claims: Claims._decide_claim; sends: Sends._decide_send",
        "first_unconfirmed in batch.lua, decide_claim in claim.lua",
    )
    MEMORY_WHEN_CONFIRMED = (
        "A worker remembers `sold out` only when every share is confirmed",
        "a share may be free again",
        "claims: Claims._decide",
        "read_winners in read.lua, SoldOut._read",
    )
    MEMORY_NOT_FOR_WINNERS = (
        "A worker answers from that memory only those who are known not to have won",
        "a winner would be told sold out",
        "claims: Claims._answer_from_memory",
        "SoldOut.is_too_late",
    )
    # Load and evict.
    LOAD_ABOVE_FLOOR = (
        "A load from below the floor is refused",
        "a snapshot from before what this Redis has let go of would give a share out twice",
        "claims: Claims._install; sends: Sends._load",
        "refused_load in load.lua",
    )
    LOAD_NEVER_OVER = (
        "A load is refused where the key is there",
        "Redis knows more than any snapshot",
        "claims: Claims._install",
        "refused_load in load.lua",
    )
    LOAD_WHOLE = (
        "A packet is installed with all its claims or not at all, in one call",
        "staged claims that have expired would be shares to give out again",
        "claims: Claims._install",
        "load_operation in load.lua",
    )
    PROOF_OF_ABSENCE = (
        "A key is new only by a snapshot at or above the floor that does not know it, looked at by reserve itself",
        "absent in Redis may mean evicted or lost, and the same key would send twice",
        "sends: Sends._decide_send",
        "decide_operation (unproven) in operation.lua",
    )
    NOT_FOUND_PROVED = (
        "404 needs a snapshot at or above a floor that was read after the packet was found absent",
        "an older one does not know a packet that was acknowledged since",
        "sends: Sends._find_absent",
        "Loader._load_operations, Rounds",
    )
    READING_OF_ALL = (
        "402 needs a reading that has every shard settled up to where it ended after the payer was found short",
        "credits come from any shard, at its own pace",
        "sends: Sends._seem_short",
        "Funds.credited_after_all",
    )
    SHORT_BEFORE_READ = (
        "402 compares that reading with what had gone out, all confirmed, when the payer was found short before it",
        "the payer's other sends take what the reading has found, and what came back since is not in it",
        "sends: Sends._reserve_short, Sends._seem_short",
        "CommitPath._is_final, decide_operation (short) in operation.lua",
    )
    RESERVED_IS_REDISES = (
        "What a reading finds come in never touches `reserved`",
        "the ledger does not know yet what has gone out, and it would be spent twice",
        "sends: Sends._load",
        "decide_operation (credited) in operation.lua",
    )
    EVICT_EQUAL = (
        "Only what the ledger shows equal is evicted",
        "a claim that is not settled yet would be forgotten, and loaded without",
        "claims: Claims._evict; sends: Sends._evict",
        "compare_claims, evict_operation, evict_wallet in evict.lua",
    )
    EVICT_RAISES_FLOOR = (
        "An eviction raises the floor to the snapshot it was compared with",
        "an older snapshot, on its way since before, would be installed",
        "claims: Claims._evict; sends: Sends._evict",
        "raise_floor in evict.lua",
    )
    # Opening.
    CLOSE_BEFORE_FENCE = (
        "Redis is closed before the Fence is written",
        "what is reserved under the old epoch and published behind the Fence is confirmed and then ignored",
        "opening: Openings._open",
        "Opener.open",
    )
    BLESS_THIS_OPENING = (
        "Bless opens only the fence that this very opening has closed, by its epoch and its nonce",
        "a late one would open an epoch whose own Fence is not settled",
        "opening: Openings._blessed",
        "bless in fence.lua",
    )
    BLESS_ONCE = (
        "Bless opens only a fence that was never open",
        "one that came twice would open again what an error has closed",
        "opening: Openings._blessed",
        "bless in fence.lua",
    )
    ONE_PASS = (
        "A number gets one pass, each step is sent once: anything but a clear yes abandons it",
        "the same number on a new Redis has the floor of the old one",
        "opening: Openings._bless",
        "Opener.open, ShardClient (no retries)",
    )
    FENCE_RAISED = (
        "An opener goes on only if its Fence was the highest settled so far",
        "a restored Postgres gives out a number that has been used: its old records count",
        "opening: Openings._open",
        "Opener._settled_up_to",
    )
    LAST_TAKEN = (
        "... and only if nobody has taken a higher number since",
        "that one's Fence may come behind, and what is confirmed meanwhile is ignored",
        "opening: Openings._open",
        "Opener._settled_up_to",
    )
    FLOOR_AT_BLESS = (
        "Bless sets the floor behind the Fence",
        "a snapshot from before the loss would be installed, without what was acknowledged since",
        "opening: Openings._blessed; claims: Claims._open",
        "bless in fence.lua",
    )
    # Settling.
    LOWER_EPOCHS_IGNORED = (
        "The ledger ignores records of an epoch below the highest Fence",
        "they were confirmed to nobody, and their shares are free again",
        "opening: Openings.settled; claims: Claims.settled; settling: Settling._settled",
        "_settle_batch in settle/decide.py",
    )
    HIGHEST_FENCE = (
        "The highest Fence ever settled counts, not the last",
        "an old owner's late Fence would let a lower epoch in again",
        "opening: Openings.settled; settling: Settling._settled",
        "settle_record in settle/decide.py",
    )
    OFFSET_MOVES_ONCE = (
        "The offset moves in the transaction that settles, from where the worker believes it to be",
        "two workers, or one whose COMMIT was cut, would settle a record twice into the hash chain",
        "settling: Settling._commit",
        "advance in settle/queries.sql, Settler.settle",
    )
    ROWS_ONCE = (
        "Balances move only by rows that are really inserted",
        "a record that Kafka holds twice would move money twice",
        "settling: Settling._settled",
        "_claim_share, _record_operation in settle/decide.py",
    )
    # Close and expiry.
    REFUND_WHEN_DRAINED = (
        "A refund is reserved only when nothing of the packet is unconfirmed",
        "the claim may die, and claimed + refunded is no longer the total",
        "closing: Closing._refund",
        "decide_close in close.lua, _close_packet in settle/decide.py",
    )
    CLOSED_STAYS_CLOSED = (
        "A packet that is closing, closed or expired takes no new claim, also after a load",
        "a share that was refunded would be given out",
        "claims: Claims._decide_claim, Claims._install",
        "decide_claim in claim.lua, decide_close in close.lua; packet_tail in shard/load.py",
    )
    # Which Redis: one that was blessed, and left behind as it was, comes back.
    LEFT_BEHIND_IS_OPENED = (
        "The owner opens anew what Redis has open under an epoch below the highest Fence",
        "a Redis that was left behind and comes back looks open for ever, and no worker may believe it",
        "opening: Openings._take",
        "epochs_shut in owner/queries.sql, Housekeeping._open_epoch",
    )
    KNOWN_EPOCHS = (
        "A worker believes no epoch below the highest that it knows was open or fenced",
        "what a Redis confirms that was left behind is ignored by the ledger",
        "opening: Openings._believed",
        "open_fence in fence.lua, ShardClient.believe, FencedEpochs",
    )
    ITS_OWN_GENERATION = (
        "An owner takes a number only where its Redis is the one that the shard's row names",
        "two owners open two Redis, and what is confirmed on the one with the lower epoch is ignored",
        "replacing: Replacing._take",
        "take_epoch in owner/queries.sql, Opener._take_epoch",
    )
    REPLACED_WHEN_CLOSED = (
        "A Redis is replaced in a transaction that finds it closed under the last number taken",
        "an owner has opened it anew meanwhile, and it stays open beside the new one",
        "replacing: Replacing._replace",
        "_take_and_close, _name_it in owner/replace.py",
    )

    def __init__(self, what: str, why: str, step: str, code: str) -> None:
        self.what = what
        self.why = why
        self.step = step
        self.code = code

    @property
    def row(self) -> str:
        """As ARCHITECTURE.md lists it."""
        return f"| {self.number} | {self.what} | {self.why} | {self.step} | {self.code} |"

    @property
    def number(self) -> str:
        return f"R{list(Rule).index(self) + 1}"
