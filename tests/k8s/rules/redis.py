"""Rules about Redis: one process, which keeps nothing, and says in time that it is full."""

from collections.abc import Iterator

from redpacket.limits import maxmemory_mib
from tests.k8s.objects import Object, Objects, find, of_kind, parse_bytes
from tests.k8s.rules.settings import settings_of

_MIB = 2**20


def _options(redis: Object) -> dict[str, str]:
    (container,) = redis["spec"]["template"]["spec"]["containers"]
    arguments = container["args"]
    return dict(zip(arguments[::2], arguments[1::2], strict=True))


def redis_is_one_process(objects: Objects) -> Iterator[str]:
    """And a new one only once the old one is gone: which a StatefulSet of one sees to."""
    redis = find(objects, "StatefulSet", "redis")
    if redis["spec"].get("replicas") != 1:
        yield f"{redis['spec'].get('replicas')} replicas"
    # Also where somebody scales the set by hand.
    selector = find(objects, "Service", "redis")["spec"]["selector"]
    if selector.get("statefulset.kubernetes.io/pod-name") != "redis-0":
        yield f"its name may lead to several: {selector}"
    for it in of_kind(objects, "Deployment", "StatefulSet"):
        images = [container["image"] for container in it["spec"]["template"]["spec"]["containers"]]
        if it is not redis and any("redis" in image or "valkey" in image for image in images):
            yield f"a second one: {it['metadata']['name']}"
    for scaler in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        if scaler["spec"]["scaleTargetRef"]["name"] == "redis":
            yield f"{scaler['metadata']['name']} scales it"


def redis_keeps_nothing(objects: Objects) -> Iterator[str]:
    redis = find(objects, "StatefulSet", "redis")
    if redis["spec"].get("volumeClaimTemplates") or redis["spec"]["template"]["spec"].get("volumes"):
        yield "it has a volume"
    (container,) = redis["spec"]["template"]["spec"]["containers"]
    options = _options(redis)
    # Others make it a replica, a part of a cluster, or another port's server.
    known = {"--save", "--appendonly", "--maxmemory-policy", "--maxmemory", "--protected-mode"}
    if container.get("command") != ["valkey-server"] or options.keys() != known:
        yield f"it runs {container.get('command')} {options}"
    for name, wanted in (("--save", ""), ("--appendonly", "no"), ("--maxmemory-policy", "noeviction")):
        if options.get(name) != wanted:
            yield f"{name} is {options.get(name)!r}, not {wanted!r}"


def redis_is_full_in_the_right_order(objects: Objects) -> Iterator[str]:
    """Eviction starts before packets are refused, Redis refuses everything only some claims later, and before its
    container is killed."""
    (container,) = find(objects, "StatefulSet", "redis")["spec"]["template"]["spec"]["containers"]
    settings = settings_of(objects, "ledger")
    bounds = (
        settings.memory_evict_mib * _MIB,
        settings.memory_refuse_mib * _MIB,
        maxmemory_mib(settings.memory_refuse_mib) * _MIB,
        parse_bytes(_options(find(objects, "StatefulSet", "redis"))["--maxmemory"]),
        parse_bytes(container["resources"]["limits"]["memory"]),
    )
    evict, refuse, least, maxmemory, limit = bounds
    if not evict < refuse < least <= maxmemory < limit:
        yield f"evict, refuse, least maxmemory, maxmemory, limit: {bounds}"
    if container["resources"]["requests"]["memory"] != container["resources"]["limits"]["memory"]:
        yield "its memory is not its own"
