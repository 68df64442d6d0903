"""What docs/kubernetes.md says of the manifests is what is in them."""

import re
import tomllib
from collections.abc import Mapping

from tests.k8s.listing import format_listing
from tests.k8s.objects import Objects, of_kind
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


def test_every_overlay_and_path_that_is_named_exists() -> None:
    for path in re.findall(r"k8s/(?:overlays|components|base)/?[\w./-]*", _GUIDE):
        assert (ROOT / path.rstrip("./")).exists(), path
