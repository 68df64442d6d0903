"""A folder to stand in, in which every module that anybody imports lies again, of somebody else."""

import sys
from importlib.metadata import packages_distributions
from pathlib import Path

OURS = ("redpacket", "service", "ledger", "loadtest")


def foreign_folder(folder: Path) -> Path:
    """Made anew. Whoever imports something from there fails, and leaves its name: see `imported`."""
    folder.mkdir()
    mark = str(folder / "imported")
    body = f"open({mark!r}, 'a').write(__name__ + '\\n')\nraise ImportError('it is somebody else\\'s')\n"
    for name in {*sys.stdlib_module_names, *packages_distributions(), *OURS}:
        if name.isidentifier():
            (folder / f"{name}.py").write_text(body)
    for name in OURS:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(body)
    # Locust takes options from both.
    (folder / "locust.conf").write_text("users = none\nrun-time = never\n")
    (folder / "pyproject.toml").write_text('[tool.locust]\nlocustfile = "none.py"\n')
    return folder


def imported(folder: Path) -> list[str]:
    """What was imported from there."""
    mark = folder / "imported"
    return mark.read_text().split() if mark.exists() else []
