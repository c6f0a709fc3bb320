"""Lines of keys: by hand for each form of TOML, and for every document that can be generated."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.toml_places import key_path, lines_of_keys

EVERY_FORM = '''\
# a comment with key = 1
name = "a # no comment"
a.b."c d" = 1
text = """
not = "a key"
\\""" still text """""
raw = \'\'\'
[no.header]\'\'\'
list = [ # [
  1,
  "]", { x = 1, y.z = [2] },
]
date = 1979-05-27 07:32:00
[admin] # here
listen = '127.0.0.1:1'
[[ neighbours ]]
name = "b"
[neighbours.deep]
key = 1
[[neighbours]]
[[neighbours.tags]]
"n" = 1
[[neighbours.tags]]
n = 2
'''
LINES = {
    "name": 2, "a": 3, "a.b": 3, "a.b.c d": 3, "text": 4, "raw": 7, "list": 9, "list[0]": 10,
    "list[1]": 11, "list[2]": 11, "list[2].x": 11, "list[2].y": 11, "list[2].y.z": 11,
    "list[2].y.z[0]": 11, "date": 13, "admin": 14, "admin.listen": 15, "neighbours": 16,
    "neighbours[0]": 16, "neighbours[0].name": 17, "neighbours[0].deep": 18,
    "neighbours[0].deep.key": 19, "neighbours[1]": 20, "neighbours[1].tags": 21,
    "neighbours[1].tags[0]": 21, "neighbours[1].tags[0].n": 22, "neighbours[1].tags[1]": 23,
    "neighbours[1].tags[1].n": 24,
}  # fmt: skip


def paths_in(value: Any, path: tuple[int | str, ...] = ()) -> set[str]:
    """Every key path of parsed TOML."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = {key_path(path)} if path else set()
    for key, each in items:
        here = (*path, key)
        found |= paths_in(each, here) if isinstance(each, dict | list) else {key_path(here)}
    return found


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_form(end: str) -> None:
    text = EVERY_FORM.replace("\n", end)
    assert paths_in(tomllib.loads(text)) == set(LINES)
    assert lines_of_keys(text) == LINES


KEYS = st.text("ab_-9", min_size=1, max_size=3) | st.just('"q.\\""') | st.just("'l[0] '")
SCALARS = st.sampled_from(
    ["1", "-0x1F", "1e3", "nan", "true", "1979-05-27", "1979-05-27 07:32:00Z", '""', "''", '"\\\\"',
     '"#,]}="', "'[[x]]'", '"""\n"\n"""', '"""a""""', '"""""a"""""', "'''\n''' ", "'''''a'''''"]
)  # fmt: skip
BLANKS = st.sampled_from(["", " ", "\t", "\n", "# x = [\n", "\r\n"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.tuples(st.lists(st.tuples(BLANKS, inner, BLANKS), max_size=3), BLANKS).map(
            lambda array: "[" + ",".join(map("".join, array[0])) + array[1] + "]"
        ),
        st.lists(st.tuples(KEYS, inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{key} = {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=6,
)
DOTTED = st.lists(KEYS, min_size=1, max_size=3).map(" . ".join)
STATEMENTS = st.one_of(
    st.tuples(DOTTED, VALUES).map(" = ".join),
    DOTTED.map(lambda key: f"[{key}] # ["),
    DOTTED.map(lambda key: f"[[ {key} ]]"),
    st.just(""),
)


@given(st.lists(STATEMENTS, max_size=8))
def test_every_document_that_parses(statements: list[str]) -> None:
    accepted: list[str] = []
    for statement in statements:
        try:
            tomllib.loads("\n".join([*accepted, statement]))
        except tomllib.TOMLDecodeError:
            continue
        accepted.append(statement)
    text = "\n".join(accepted)
    places = lines_of_keys(text)
    assert set(places) == paths_in(tomllib.loads(text))
    assert all(1 <= line <= text.count("\n") + 1 for line in places.values())


@given(DOTTED, VALUES, st.integers(0, 5))
def test_a_key_stands_in_the_line_where_it_was_written(key: str, value: str, above: int) -> None:
    text = "\n" * above + f"{key} = {value}\n[next]\n"
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    places = lines_of_keys(text)
    (first, *_) = parsed
    if first != "next":
        assert places[key_path((first,))] == above + 1
        assert places["next"] == text.count("\n")
