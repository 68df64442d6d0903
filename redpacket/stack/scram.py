"""Tells a Kafka controller the password of a user, so that the broker lets this user in.

aiokafka has no such call. Kafka's own tool takes seconds of Java, and a password on its command line.
"""

import hashlib
import logging
import secrets

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactBytes, CompactString, Int8, Int16, Int32, Schema, TaggedFields

aiokafka_log = logging.getLogger("aiokafka.conn")

_SHA_256 = 1
_ITERATIONS = 4_096  # the least that Kafka takes: a password of 256 random bits needs no more
_API_KEY = 51


class _Answer(Response):
    API_KEY = _API_KEY
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Struct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = _API_KEY
    API_VERSION = 0
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        (
            "deletions",
            CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields)),
        ),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterUserScramCredentials(Request[_Struct]):
    API_KEY = _API_KEY

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._salt = secrets.token_bytes(32)
        self._salted = hashlib.pbkdf2_hmac("sha256", password.encode(), self._salt, _ITERATIONS)

    def build(self, request_struct_class: type[_Struct]) -> _Struct:
        upsertion: tuple[object, ...] = (self._user, _SHA_256, _ITERATIONS, self._salt, self._salted, {})
        return request_struct_class([], [upsertion], {})


async def tell_password(
    controller_port: int, controller: tuple[str, str], user: tuple[str, str], timeout_ms: int
) -> None:
    """`controller` and `user`: name and password, of whoever may tell it and of whom it is told. Raises OSError and
    KafkaError."""
    name, secret = controller
    # A controller takes nothing but PLAIN, and aiokafka warns of it.
    aiokafka_log.addFilter(_is_no_warning_of_plain)
    try:
        connection = await create_conn(
            "127.0.0.1",
            controller_port,
            request_timeout_ms=timeout_ms,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_plain_username=name,
            sasl_plain_password=secret,
        )
    finally:
        aiokafka_log.removeFilter(_is_no_warning_of_plain)
    try:
        answer = await connection.send(_AlterUserScramCredentials(*user))
        for _, code, message, _ in answer.results:
            if code:
                raise KafkaError(f"{for_code(code).__name__}: {message}")
    finally:
        connection.close()


def _is_no_warning_of_plain(record: logging.LogRecord) -> bool:
    return "in the clear" not in record.msg
