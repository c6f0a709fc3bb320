"""What an installed Overlane consists of: every package of the tree, the lab's files, and of the
benches what `overlane bench` runs."""

import tomllib
from pathlib import Path

from tests.test_imports import of_python

ROOT = Path(__file__).parents[1]
NOT_INSTALLED = {"tests"}
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_package_is_listed() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ROOT.iterdir()
        if (top / "__init__.py").exists() and top.name not in NOT_INSTALLED
        for path in top.rglob("__init__.py")
    }
    assert "relay.slowpath" in found
    # A package brings all its modules; of the scripts in bench/ an operator needs only one.
    assert set(SETTINGS["packages"]) == found - {"bench"}
    assert SETTINGS["py-modules"] == ["bench.forwarding"]


def test_the_installed_bench_needs_only_what_is_installed() -> None:
    """Nothing of bench/ but bench.support and bench.forwarding, and no tests."""
    used = {
        module
        for path in [ROOT / "bench" / "forwarding.py", *(ROOT / "bench" / "support").glob("*.py")]
        for module in of_python(path.read_text(), "bench")
        if module.split(".")[0] in {"bench", "tests"}
    }
    assert used
    assert {m for m in used if not m.startswith(("bench.support.", "bench.forwarding."))} == set()


def test_the_labs_files_are_shipped() -> None:
    patterns = SETTINGS["package-data"]["lab"]
    shipped = {path for pattern in patterns for path in (ROOT / "lab").glob(pattern)}
    for folder in ("data", "scenarios"):
        files = {path for path in (ROOT / "lab" / folder).iterdir() if path.is_file()}
        assert files
        assert files <= shipped
