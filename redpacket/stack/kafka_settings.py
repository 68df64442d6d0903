"""The settings of a lone Kafka node, broker and controller in one, that lets in who knows a password."""

from pathlib import Path

# Whom the broker lets in, and whom the controller does.
USER = "redpacket"
CONTROLLER = "controller"


def kafka_settings(port: int, controller_port: int, folder: Path, password: str, controller_password: str) -> str:
    """The text of the properties file with which Kafka keeps its data in `folder`. It has the passwords."""
    own = {
        "listeners": f"BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"BROKER://127.0.0.1:{port}",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
        "log.dirs": str(folder),
        "listener.name.broker.scram-sha-256.sasl.jaas.config": (
            f'org.apache.kafka.common.security.scram.ScramLoginModule required username="{USER}" password="{password}";'
        ),
        "listener.name.controller.plain.sasl.jaas.config": (
            "org.apache.kafka.common.security.plain.PlainLoginModule required"
            f' username="{CONTROLLER}" password="{controller_password}"'
            f' user_{CONTROLLER}="{controller_password}";'
        ),
    }
    return "".join(f"{name}={value}\n" for name, value in (own | SETTINGS).items())


SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "BROKER",
    "listener.security.protocol.map": "BROKER:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
    # By SCRAM a client and the broker each show the other that they know the password, and neither says it. The
    # controller cannot do so, since it keeps the passwords itself; only this node calls it, and only while it has the
    # port.
    "listener.name.broker.sasl.enabled.mechanisms": "SCRAM-SHA-256",
    "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-256",
    "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
    "sasl.mechanism.controller.protocol": "PLAIN",
    "auto.create.topics.enable": "false",
    # The log is the record of all money: nothing in it is ever deleted by age or size.
    "log.retention.ms": "-1",
    "log.retention.bytes": "-1",
    # One broker cannot copy anything.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Few files, so a start after SIGKILL has little to look through.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    # A broker that was killed may register again only when its old session has ended: 12.6 s with the default of 9 s.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
}
