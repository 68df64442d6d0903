"""What docs/kubernetes.md, compose.yaml and the Dockerfile say is what is in the manifests."""

import re
import tomllib
from collections.abc import Mapping

import yaml

from tests.k8s.listing import format_listing
from tests.k8s.objects import Objects, find, of_kind, pods
from tests.k8s.render import ROOT
from tests.k8s.rules.schemas import CUSTOM

_GUIDE = (ROOT / "docs" / "kubernetes.md").read_text()


def test_the_listed_objects_are_those_that_are_rendered(rendered: Mapping[str, Objects]) -> None:
    assert format_listing(rendered) in _GUIDE


def test_every_custom_kind_is_said_to_be_unchecked_by_make_test(rendered: Mapping[str, Objects]) -> None:
    used = {it["kind"] for objects in rendered.values() for it in objects} & CUSTOM.keys()
    assert used == CUSTOM.keys()
    for kind, version in CUSTOM.items():
        assert f"| `{kind}` | `{version}` |" in _GUIDE


def test_the_version_is_that_of_the_project(rendered: Mapping[str, Objects]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for objects in rendered.values():
        assert f"migrate-{version}" in {it["metadata"]["name"] for it in of_kind(objects, "Job")}


def test_the_servers_are_those_of_compose(rendered: Mapping[str, Objects]) -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]  # type: ignore[no-untyped-call]
    for objects in rendered.values():
        (redis,) = (pod.main["image"] for pod in pods(objects) if pod.component == "redis")
        assert redis == services["redis"]["image"]
        kafka = find(objects, "Kafka", "redpacket")["spec"]["kafka"]["version"]
        assert kafka == services["kafka"]["image"].partition(":")[2]
        postgres = find(objects, "Cluster", "postgres")["spec"]["imageName"].partition(":")[2]
        assert postgres.partition(".")[0] == services["postgres"]["image"].partition(":")[2]


def test_pods_run_as_the_user_of_the_image(rendered: Mapping[str, Objects]) -> None:
    (user,) = re.findall(r"useradd --uid (\d+)", (ROOT / "Dockerfile").read_text())
    for objects in rendered.values():
        assert {pod.spec["securityContext"]["runAsUser"] for pod in pods(objects)} == {int(user)}


def test_every_overlay_and_path_that_is_named_exists() -> None:
    for path in re.findall(r"k8s/(?:overlays|components|base)/?[\w./-]*", _GUIDE):
        assert (ROOT / path.rstrip("./")).exists(), path
