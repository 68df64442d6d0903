"""The hash chain over a shard's settled records: who holds its head can tell whether any record was changed."""

import hashlib


def link(chain: bytes, record: bytes) -> bytes:
    """32 bytes: SHA-256 of the chain so far (32 bytes) followed by the SHA-256 of the record's bytes."""
    return hashlib.sha256(chain + hashlib.sha256(record).digest()).digest()
