"""What configurations of all daemons are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from service.address import format_address, parse_address
from service.config_problems import describe
from service.errors import Problem


def _canonical_address(text: str) -> str:
    return format_address(parse_address(text))


def _host(text: str) -> str:
    return parse_address(f"[{text}]:0" if ":" in text else f"{text}:0")[0]


def _reachable_address(text: str) -> str:
    host, port = parse_address(text)
    if port == 0:
        raise ValueError("a port that others send to cannot be 0")
    if host in ("0.0.0.0", "::"):
        raise ValueError("others cannot send to a wildcard address")
    return format_address((host, port))


HostText = Annotated[str, AfterValidator(_host)]
AddressText = Annotated[str, AfterValidator(_canonical_address)]
ReachableAddress = Annotated[str, AfterValidator(_reachable_address)]


class Model(BaseModel):
    """Frozen, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Log(Model):
    """Where events go is standard error; this is how they look."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """All of them, each once."""
    found = error.errors()
    # A list all of whose items are malformed is called too short as well; it is not.
    return [
        describe(details, model)
        for details in found
        if details["type"] != "too_short"
        or not any(
            other["loc"] != details["loc"] and other["loc"][: len(details["loc"])] == details["loc"]
            for other in found
        )
    ]
