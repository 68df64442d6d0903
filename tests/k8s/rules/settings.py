"""Rules about what our processes are told: by their command line, and by the REDPACKET_ variables."""

from collections.abc import Iterator, Mapping

import click

from redpacket.cli import main
from redpacket.settings import Settings, SettingsError, read_settings
from tests.k8s.objects import Objects, Pod, describe, find, of_kind, pods

_COMMANDS = {"api": "api", "ledger": "ledger", "migrate": "migrate", "rehearsal": "rehearse"}
_SECRET = "REDPACKET_POSTGRES_URL"
# What a pod is told beside the one ConfigMap.
_OWN = {_SECRET, "REDPACKET_INSTANCE"}


def ours(objects: Objects) -> list[Pod]:
    """The pods whose main container runs a command of redpacket."""
    return [pod for pod in pods(objects) if is_ours(pod.main["image"])]


def is_ours(image: str) -> bool:
    """Also where `newName` of an overlay says in which registry it is."""
    return image.rpartition("/")[2].startswith("redpacket")


def environ_of(objects: Objects, pod: Pod) -> Mapping[str, str]:
    """The variables of the main container. One whose value is known only in a cluster has its source as its value.

    Raises LookupError where a source is not there.
    """
    found: dict[str, str] = {}
    for source in pod.main.get("envFrom", ()):
        found |= find(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in pod.main.get("env", ()):
        if "value" in variable:
            found[variable["name"]] = variable["value"]
        elif (secret := variable["valueFrom"].get("secretKeyRef")) is not None:
            if (secret["name"], secret["key"]) not in _made_by_operators(objects):
                raise LookupError(f"nobody makes the Secret {secret['name']} with the key {secret['key']}")
            found[variable["name"]] = f"Secret {secret['name']} {secret['key']}"
        else:
            found[variable["name"]] = variable["valueFrom"]["fieldRef"]["fieldPath"]
    return found


def _made_by_operators(objects: Objects) -> set[tuple[str, str]]:
    # CloudNativePG: NAME-app, of whose keys `uri` is a URL as asyncpg reads it.
    return {(f"{it['metadata']['name']}-app", "uri") for it in of_kind(objects, "Cluster")}


def settings_of(objects: Objects, component: str) -> Settings:
    """What the processes of this component read at their start. Raises LookupError and SettingsError."""
    for pod in ours(objects):
        if pod.component == component:
            return read_settings(environ_of(objects, pod))
    raise LookupError(f"there is no {component}")


def settings_are_known_and_whole(objects: Objects) -> Iterator[str]:
    """Every process would start on what it is given: nothing unknown, nothing out of range, nothing missing."""
    for pod in ours(objects):
        try:
            settings = read_settings(environ_of(objects, pod))
        except (SettingsError, LookupError) as error:
            yield f"{pod.name}: {error}"
            continue
        # With service links, Kubernetes adds REDPACKET_KAFKA_BOOTSTRAP_SERVICE_HOST and the like, all of them unknown.
        if pod.spec.get("enableServiceLinks") is not False:
            yield f"{pod.name}: service links"
        if pod.serves and (settings.ops_host, settings.ops_port) != ("0.0.0.0", pod.ports.get("ops")):
            yield f"{pod.name}: nobody can ask at {settings.ops_host}:{settings.ops_port}"
        if pod.component == "ledger" and settings.instance != "metadata.name":
            yield f"{pod.name}: its workers' names do not last"


def settings_are_the_same_for_all(objects: Objects) -> Iterator[str]:
    """What processes must agree on (shards, currency, keys) is said once, and nobody is told otherwise."""
    sources = set()
    for pod in ours(objects):
        sources |= {it["configMapRef"]["name"] for it in pod.main.get("envFrom", ())}
        if own := {it["name"] for it in pod.main.get("env", ())} - _OWN:
            yield f"{pod.name} has its own {', '.join(sorted(own))}"
    if len(sources) != 1:
        yield f"settings of several ConfigMaps: {sorted(sources)}"


def metrics_are_told_at_their_own_port_alone(objects: Objects) -> Iterator[str]:
    """Whoever may ask there is a matter of NetworkPolicies; at the public port it is anybody."""
    if settings_of(objects, "api").public_metrics:
        yield "the API tells its metrics at its public port"


def secrets_are_only_referred_to(objects: Objects) -> Iterator[str]:
    """Passwords and keys are in Secrets that others make, in no manifest."""
    for secret in of_kind(objects, "Secret"):
        yield f"{describe(secret)}: what is secret is in a manifest"
    for config in of_kind(objects, "ConfigMap"):
        if unknown := {it for it in config["data"] if it == _SECRET or not it.startswith("REDPACKET_")}:
            yield f"{describe(config)}: {', '.join(unknown)}"
    for pod in ours(objects):
        found = [it for it in pod.main.get("env", ()) if it["name"] == _SECRET]
        if not found or any("secretKeyRef" not in it.get("valueFrom", {}) for it in found):
            yield f"{pod.name}: {_SECRET} is not from a Secret"


def servers_are_those_of_the_manifests(objects: Objects) -> Iterator[str]:
    for pod in ours(objects):
        settings = read_settings(environ_of(objects, pod))
        # Redis's only database, and the only one that an audit looks at.
        urls = {
            f"redis://{it['metadata']['name']}:{port['port']}/0"
            for it in of_kind(objects, "Service")
            for port in it["spec"]["ports"]
            if port["name"] == "redis"
        }
        if settings.redis_url not in urls:
            yield f"{pod.name}: {settings.redis_url} is none of {urls}"
        # Strimzi: NAME-kafka-bootstrap, at the listener's port.
        bootstraps = {
            f"{it['metadata']['name']}-kafka-bootstrap:{listener['port']}"
            for it in of_kind(objects, "Kafka")
            for listener in it["spec"]["kafka"]["listeners"]
        }
        if settings.kafka_bootstrap not in bootstraps:
            yield f"{pod.name}: {settings.kafka_bootstrap} is none of {bootstraps}"


def commands_are_those_of_the_command_line(objects: Objects) -> Iterator[str]:
    for pod in ours(objects):
        if "command" in pod.main:
            yield f"{pod.name}: not by the image's own entry point"
        name, *rest = pod.main["args"]
        if name != _COMMANDS[pod.component]:
            yield f"{pod.name} runs {name}"
            continue
        command = main.commands.get(name)
        if command is None:
            yield f"{pod.name}: redpacket has no command {name}"
            continue
        try:
            parsed = command.make_context(name, rest).params
        except click.UsageError as error:
            yield f"{pod.name}: {error.format_message()}"
            continue
        if name == "api" and (parsed["host"], parsed["port"]) != ("0.0.0.0", pod.ports.get("http")):
            yield f"{pod.name}: nobody can ask at {parsed['host']}:{parsed['port']}"
        if name == "rehearse":
            writable = {it["mountPath"] for it in pod.main["volumeMounts"] if not it.get("readOnly")}
            if str(parsed["out"].parent) not in writable or parsed["host"] != "http://api":
                yield f"{pod.name}: {parsed}"
