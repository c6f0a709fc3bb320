"""Imports between the packages go one way: the table of ARCHITECTURE.md, checked on the sources."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EVERYTHING = {
    "rtp",
    "service",
    "fastpath",
    "relay",
    "control_client",
    "controller",
    "overlane",
    "lab",
}
MAY_IMPORT: dict[str, set[str]] = {
    "rtp": set(),
    "fastpath": {"rtp"},
    "service": set(),
    "relay": {"rtp", "fastpath", "control_client", "service"},
    "control_client": {"rtp", "fastpath.wire"},
    "controller": {"control_client", "service"},
    "overlane": {*EVERYTHING, "bench"},  # its command of that name
    "lab": EVERYTHING,
}
NATIVE_IMPORT = re.compile(
    r"^\s*(?:from\s+([\w.]+)\s+c?import\b|c?import\s+([\w.]+))", re.MULTILINE
)


def of_python(text: str, package: str) -> Iterator[str]:
    """Modules that a .py names, relative ones made absolute."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                assert node.module is not None
                # `from a import b` may mean the module a.b.
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield package


def of_native(text: str) -> Iterator[str]:
    """Modules that a .pyx or .pxd names."""
    for match in NATIVE_IMPORT.finditer(text):
        yield match[1] or match[2]


def imports() -> list[tuple[str, str]]:
    """(file, module of ours that it imports), for all packages."""
    found = []
    for package in MAY_IMPORT:
        for path in sorted((ROOT / package).rglob("*.p*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in {".py", ".pyi"}:
                modules = list(of_python(path.read_text(), package))
            elif path.suffix in {".pyx", ".pxd"}:
                modules = list(of_native(path.read_text()))
            else:
                continue
            found += [
                (name, m) for m in modules if m.split(".")[0] in {*EVERYTHING, "tests", "bench"}
            ]
    return found


def is_allowed(package: str, module: str) -> bool:
    if module.split(".")[0] == package:
        return True
    return any(f"{module}.".startswith(f"{allowed}.") for allowed in MAY_IMPORT[package])


@pytest.mark.parametrize(
    ("package", "module", "allowed"),
    [
        ("rtp", "rtp.sequence", True),
        ("rtp", "fastpath", False),
        ("fastpath", "rtp.payload.marks", True),
        ("fastpath", "relay.node", False),
        ("relay", "fastpath.engine", True),
        ("relay", "controller", False),
        ("relay", "lab.link", False),
        ("control_client", "fastpath.wire.parse", True),
        ("control_client", "fastpath.engine", False),
        ("control_client", "fastpath.wireless", False),
        ("controller", "control_client.messages.Hello", True),
        ("controller", "control_client.table", True),
        ("controller", "relay.messages", False),
        ("controller", "fastpath.wire", False),
        ("control_client", "controller.paths", False),
        ("fastpath", "controller", False),
        ("lab", "controller.paths", True),
        ("overlane", "controller.routing", True),
        ("overlane", "lab.overlay", True),
        ("overlane", "bench.forwarding", True),
        ("lab", "bench.support.threads", False),
        ("overlane", "tests.support", False),
    ],
)
def test_the_rule_itself(package: str, module: str, allowed: bool) -> None:
    assert is_allowed(package, module) == allowed


def test_both_readers_find_imports() -> None:
    text = "import a.b\nfrom c.d import e\nif x:\n    from .f import g\n"
    assert list(of_python(text, "here")) == ["a.b", "c.d.e", "here"]
    native = "from a.b cimport c\nfrom d import e\ncimport f.g\n    import h\ncdef import_i\n"
    assert list(of_native(native)) == ["a.b", "d", "f.g", "h"]


def test_imports_go_one_way() -> None:
    found = imports()
    refused = [(n, m) for n, m in found if not is_allowed(n.split("/")[0], m)]
    assert refused == []
    # The search saw all kinds of files.
    assert ("fastpath/ingest.pyx", "rtp.payload.codec") in found
    assert ("fastpath/worker.pxd", "fastpath.ring") in found
    assert any(n.startswith("lab/") and m.startswith("lab.link") for n, m in found)


def test_only_tests_use_the_plain_python_engine() -> None:
    users = {name for name, module in imports() if module.startswith("fastpath.reference")}
    assert {name for name in users if not name.startswith("fastpath/reference/")} == set()
    assert "fastpath/reference/engine.py" in users
