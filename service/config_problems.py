"""What is wrong with a configuration, as one line for whoever wrote it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from service.errors import Problem
from service.toml_places import key_path

MAX_SHOWN = 60  # characters of a bad value
_SECRETS = frozenset({"secret", "token", "token_hash"})  # keys whose values are not repeated


def describe(details: Mapping[str, Any], model: type[BaseModel]) -> Problem:
    """One of pydantic's errors about `model` in an operator's words: what was found, what may be.

    Secrets are not shown, nor what stands under an unknown key, which may be one misspelt.
    """
    key = key_path(details["loc"])
    found = details["input"]
    match details["type"]:
        case "missing":
            return Problem(key, "is missing")
        case "extra_forbidden":
            *parents, last = details["loc"]
            return Problem(key, f"unknown key{suggestion(str(last), keys_below(model, parents))}")
        case "tuple_type":
            text = "must be an array"
        case "model_type" | "model_attributes_type" | "dict_type":
            text = "must be a table"
        case _:
            text = str(details["msg"]).removeprefix("Value error, ")
            text = text[:1].lower() + text[1:]
    if details["loc"][-1] in _SECRETS or (isinstance(found, str) and repr(found) in text):
        return Problem(key, text)
    return Problem(key, f"{text}; found {_shown(found)}")


def suggestion(unknown: str, allowed: Collection[str]) -> str:
    """What to write instead, as the end of a sentence."""
    near = difflib.get_close_matches(unknown.lower(), allowed, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; allowed here: {', '.join(allowed)}" if allowed else ""


def keys_below(model: type[BaseModel], path: Iterable[int | str]) -> Collection[str]:
    """The keys of the table at a place of a configuration; nothing if no table is there."""
    here: object = model
    for part in path:
        if isinstance(part, int):
            continue  # the item of an array: `here` is its type already
        fields = here.model_fields if isinstance(here, type) and issubclass(here, BaseModel) else {}
        annotation = fields[part].annotation if part in fields else None
        here = (*get_args(annotation), annotation)[0]
    if isinstance(here, type) and issubclass(here, BaseModel):
        return tuple(here.model_fields)
    return ()


def _shown(found: object) -> str:
    if isinstance(found, dict):
        return "a table"
    if isinstance(found, list | tuple):
        return "an array"
    text = repr(found)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... ({len(text)} characters)"
