"""How every client of Kafka finds it, and shows that it may use it."""

from typing import Any

from redpacket.settings import Settings

# Whoever listens in the broker's place learns no password from it, and cannot pass for the broker.
_MECHANISM = "SCRAM-SHA-256"


def kafka_access(settings: Settings) -> dict[str, Any]:
    """The arguments that every client of aiokafka takes."""
    credentials = as_user(settings.kafka_user, settings.kafka_password) if settings.kafka_user else {}
    return {"bootstrap_servers": settings.kafka_bootstrap} | credentials


def as_user(name: str, password: str) -> dict[str, Any]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": _MECHANISM,
        "sasl_plain_username": name,
        "sasl_plain_password": password,
    }
