"""One rule about the keys: they are where each process looks for them, all of them, and it may read them."""

from collections.abc import Iterator

from tests.k8s.objects import Object, Objects, Pod, dig
from tests.k8s.rules.settings import ours, settings_of

_NEEDED = {
    "api": {"id.key", "split.key", "jwt_public.pem"},
    "ledger": {"id.key", "split.key"},
    "migrate": {"id.key", "split.key"},
    "rehearsal": {"id.key", "split.key", "jwt_public.pem", "jwt_private.pem"},
}
_OF_GROUP, _OF_ALL = 0o040, 0o004


def keys_are_there_and_can_be_read(objects: Objects) -> Iterator[str]:
    for pod in ours(objects):
        folder = settings_of(objects, pod.component).keys_dir
        mounts = {it["mountPath"]: it["name"] for it in pod.main.get("volumeMounts", ())}
        volumes = {it["name"]: it for it in pod.spec.get("volumes", ())}
        secret = dig(volumes, mounts.get(folder, ""), "secret") or {}
        if secret.get("secretName") != "keys" or secret.get("optional"):
            yield f"{pod.name}: there are no keys at {folder}"
            continue
        items = secret.get("items", ())
        given = {it["path"] for it in items if it["path"] == it["key"]}
        if items and (missing := _NEEDED[pod.component] - given):
            yield f"{pod.name} is not given {', '.join(sorted(missing))}"
        for mode in _modes(secret):
            if not _may_read(pod, mode):
                yield f"{pod.name}: its user cannot read keys of the mode {mode:04o}"


def _modes(secret: Object) -> set[int]:
    default = secret.get("defaultMode", 0o644)
    return {it.get("mode", default) for it in secret.get("items", ())} or {default}


def _may_read(pod: Pod, mode: int) -> bool:
    """The files are root's, and of the pod's group where it names one."""
    return bool(mode & _OF_ALL) or ("fsGroup" in pod.spec.get("securityContext", {}) and bool(mode & _OF_GROUP))
