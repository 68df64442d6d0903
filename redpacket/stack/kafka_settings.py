"""The settings of a lone Kafka node, broker and controller in one."""

from pathlib import Path


def kafka_settings(port: int, controller_port: int, folder: Path) -> str:
    """The text of the properties file with which Kafka keeps its data in `folder`."""
    places = {
        "listeners": f"BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"BROKER://127.0.0.1:{port}",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
        "log.dirs": str(folder),
    }
    return "".join(f"{name}={value}\n" for name, value in (places | SETTINGS).items())


SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "BROKER",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
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
