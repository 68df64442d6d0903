"""Rules about the network: what has to get through does, and nothing else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.k8s.objects import Object, Objects, describe, of_kind, pods, selects


@dataclass(frozen=True)
class _Peer:
    """`namespace` is '' for ours."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""


_DNS = 53
_PORTS = (5432, 6379, 8000, 8080, 9090, 9091, 9092, 9100)
# Those whom others make; `stranger` stands for whatever else runs in the cluster.
_OTHERS = (
    _Peer("kafka", {"strimzi.io/cluster": "redpacket"}),
    _Peer("postgres", {"cnpg.io/cluster": "postgres"}),
    _Peer("stranger", {"app": "stranger"}),
    _Peer("cnpg", namespace="cnpg-system"),
    _Peer("gateway", namespace="gateway"),
    _Peer("prometheus", namespace="monitoring"),
    _Peer("stranger elsewhere", namespace="default"),
)
_PROCESSES = ("api", "ledger", "migrate", "rehearsal")
_NEEDED = {
    *((process, "kafka", 9092) for process in _PROCESSES),
    *((process, "postgres", 5432) for process in _PROCESSES),
    *((process, "redis", 6379) for process in ("api", "ledger", "rehearsal")),
    ("rehearsal", "api", 8000),
    ("gateway", "api", 8000),
    ("prometheus", "api", 9100),
    ("prometheus", "ledger", 9100),
    *(("kafka", "kafka", port) for port in (9090, 9091)),
    *((peer, "postgres", port) for peer in ("cnpg", "postgres") for port in (5432, 8000)),
}


# Beside them the worker answers /healthz at the same port.
_FOR_CLIENTS = {("PathPrefix", "/v1"), ("Exact", "/openapi.json")}


def clients_come_to_what_they_need_and_nothing_else(objects: Objects) -> Iterator[str]:
    # What a match or a rule does not say is, by Gateway API, every path.
    every_path = {"type": "PathPrefix", "value": "/"}
    for route in of_kind(objects, "HTTPRoute"):
        matches = [match for rule in route["spec"]["rules"] for match in rule.get("matches", [{}])]
        paths = [every_path | match.get("path", {}) for match in matches]
        if (routed := {(it["type"], it["value"]) for it in paths}) != _FOR_CLIENTS:
            yield f"{describe(route)}: {sorted(routed)}"


def policies_are_understood(objects: Objects) -> Iterator[str]:
    """The next rule knows ports by number, and peers by their labels."""
    for policy in of_kind(objects, "NetworkPolicy"):
        for it in _not_understood(policy):
            yield f"{describe(policy)}: whom {it} lets through is not understood here"


def _not_understood(policy: Object) -> Iterator[Object]:
    for way, side in (("ingress", "from"), ("egress", "to")):
        for rule in policy["spec"].get(way, ()):
            ports, named = rule.get("ports", ()), rule.get(side, ())
            yield from (it for it in ports if it.keys() - {"port", "protocol"} or not isinstance(it.get("port"), int))
            yield from (it for it in named if it.keys() - {"podSelector", "namespaceSelector"})


def network_lets_through_what_is_needed_and_nothing_else(objects: Objects) -> Iterator[str]:
    peers = [*(_Peer(it.component, it.labels) for it in pods(objects)), *_OTHERS]
    here = [it for it in peers if not it.namespace]
    components = {it.name for it in peers} - ({"gateway"} if not any(of_kind(objects, "HTTPRoute")) else set())
    components -= {"prometheus"} if not any(of_kind(objects, "PodMonitor")) else set()
    needed = {it for it in _NEEDED if {it[0], it[1]} <= components}
    policies = [it for it in of_kind(objects, "NetworkPolicy") if not any(_not_understood(it))]
    open_ways = {
        (source.name, target.name, port)
        for source in peers
        for target in here
        for port in _PORTS
        if _lets(policies, "Ingress", target, source, port)
        and (source.namespace or _lets(policies, "Egress", source, target, port))
    }
    for way in sorted(needed - open_ways):
        yield f"shut: {way}"
    for way in sorted(open_ways - needed):
        yield f"open: {way}"
    for peer in here:
        if not _lets(policies, "Egress", peer, _Peer("dns", {"k8s-app": "kube-dns"}, "kube-system"), _DNS):
            yield f"no name is found by {peer.name}"
        # The API server, which operators' pods ask; nobody else gets out.
        for port in (443, 6443):
            out = _lets(policies, "Egress", peer, _Peer("outside", namespace="outside"), port)
            if out != (peer.name in ("kafka", "postgres")):
                yield f"{'open' if out else 'shut'}: {(peer.name, 'outside', port)}"
    # Strimzi's own policy comes beside ours, and lets in everybody where the listener names nobody.
    for kafka in of_kind(objects, "Kafka"):
        for listener in kafka["spec"]["kafka"]["listeners"]:
            if listener["type"] != "internal":
                yield f"{describe(kafka)}: {listener['name']} can be reached from outside"
            named = listener.get("networkPolicyPeers", [{}])
            for peer in peers:
                if any(_is(it, peer) for it in named) != ((peer.name, "kafka", listener["port"]) in needed):
                    yield f"{describe(kafka)}: the peer {peer.name} of {listener['name']}"


def _lets(policies: list[Object], way: str, pod: _Peer, other: _Peer, port: int) -> bool:
    """Whether `pod` may be asked by (Ingress), or ask (Egress), `other`: anything, where no policy is about it."""
    ours = [it["spec"] for it in policies if way in it["spec"]["policyTypes"]]
    ours = [it for it in ours if selects(it["podSelector"], pod.labels)]
    rules = [rule for it in ours for rule in it.get(way.lower(), ())]
    return not ours or any(_names(rule, "from" if way == "Ingress" else "to", other, port) for rule in rules)


def _names(rule: Object, side: str, other: _Peer, port: int) -> bool:
    # By TCP, but for DNS.
    named_port = "ports" not in rule or any(
        it["port"] == port and (port == _DNS or it.get("protocol", "TCP") == "TCP") for it in rule["ports"]
    )
    return named_port and (side not in rule or any(_is(it, other) for it in rule[side]))


def _is(named: Object, other: _Peer) -> bool:
    namespace = named.get("namespaceSelector")
    if namespace is None:
        in_namespace = not other.namespace
    else:
        in_namespace = selects(namespace, {"kubernetes.io/metadata.name": other.namespace})
    return in_namespace and selects(named.get("podSelector", {}), other.labels)
