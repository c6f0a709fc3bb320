"""Tables as values."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_client.codec import decode_from_brain, encode
from control_client.errors import TableError
from control_client.messages import Path, Table, TableVersion
from control_client.table import NodeTable
from tests.support.control_channel import neighbour, random_table

OLD, NEW = TableVersion(1, 1), TableVersion(1, 2)


@given(st.integers(0, 2**32))
def test_the_change_from_one_to_the_other_makes_it(seed: int) -> None:
    rng = Random(seed)
    old, new = random_table(rng), random_table(rng)
    change = decode_from_brain(encode(new.change_from(old, OLD, NEW)))
    assert isinstance(change, Table)
    assert old.apply(change) == new
    whole = decode_from_brain(encode(new.as_message(NEW)))
    assert isinstance(whole, Table)
    assert old.apply(whole) == new
    assert len(encode(change)) <= len(encode(whole)) + 200  # the names of what is removed
    unchanged = new.change_from(new, OLD, NEW)
    assert (unchanged.neighbours, unchanged.paths, unchanged.removed_neighbours) == ((), (), ())


def test_a_table_cannot_be_changed_from_outside() -> None:
    table = NodeTable.of([neighbour(1)])
    with pytest.raises(TypeError):
        table.neighbours["x"] = neighbour(2)  # type: ignore[index]  # that is the point
    table.apply(Table(NEW, OLD, removed_neighbours=("n1",)))
    assert list(table.neighbours) == ["n1"]


def test_contradictions() -> None:
    renamed = msgspec.structs.replace(neighbour(1), name="z")
    moved = msgspec.structs.replace(neighbour(1), name="z", node_id=9)
    with pytest.raises(TableError, match="n1 and z both have id 1"):
        NodeTable.of([neighbour(1), renamed])
    with pytest.raises(TableError, match=r"n1 and z are both at 192\.0\.2\.1:7000"):
        NodeTable.of([neighbour(1), moved])
    with pytest.raises(TableError, match="demo goes by n2, no neighbour"):
        NodeTable.of([neighbour(1)], {"demo": (Path(("n2",), 1),)})
    with pytest.raises(TableError, match="demo goes by n1, no neighbour"):
        NodeTable.of([neighbour(1)], {"demo": (Path(("n1",), 1),)}).apply(
            Table(NEW, OLD, removed_neighbours=("n1",))
        )
    with pytest.raises(TableError, match="demo has no paths"):
        NodeTable().apply(Table(NEW, OLD, removed_paths=("demo",)))
