"""What an installed Overlane consists of: every package of the tree, and the lab's files."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOT_INSTALLED = {"bench", "tests"}
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_package_is_listed() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ROOT.iterdir()
        if (top / "__init__.py").exists() and top.name not in NOT_INSTALLED
        for path in top.rglob("__init__.py")
    }
    assert "relay.slowpath" in found
    assert set(SETTINGS["packages"]) == found


def test_the_labs_files_are_shipped() -> None:
    patterns = SETTINGS["package-data"]["lab"]
    shipped = {path for pattern in patterns for path in (ROOT / "lab").glob(pattern)}
    for folder in ("data", "scenarios"):
        files = {path for path in (ROOT / "lab" / folder).iterdir() if path.is_file()}
        assert files
        assert files <= shipped
