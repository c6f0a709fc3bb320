"""The API's description (OpenAPI 3.1), made of its routes and the types of their answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from controller.api import Route

REF = "#/components/schemas/{name}"


def describe(
    routes: Iterable[Route], problem: type[msgspec.Struct], version: str
) -> dict[str, Any]:
    """As JSON's values."""
    routes = tuple(routes)
    types = [problem, *(kind for route in routes for kind in _kinds(route))]
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    error, *rest = schemas
    answers = iter(rest)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        found = [next(answers) for _ in _kinds(route)]
        schema = {"anyOf": found} if len(found) > 1 else found[0] if found else None
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema, error)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Overlane controller", "version": version},
        "paths": paths,
        "components": {"schemas": components},
    }


def _kinds(route: Route) -> list[Any]:
    return [kind for kind in (route.answer, route.or_answer) if kind is not None]


def _operation(
    route: Route, schema: dict[str, Any] | None, error: dict[str, Any]
) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": route.summary}
    if schema is not None:
        answer["content"] = {"application/json": {"schema": schema}}
    problem = {
        "description": "Why not",
        "content": {"application/json": {"schema": error}},
    }
    operation: dict[str, Any] = {
        "summary": route.summary,
        "parameters": [_parameter(name, "path") for name in re.findall(r"\{(\w+)\}", route.path)]
        + [_parameter(name, "query") for name in route.query],
        "responses": {str(route.status): answer, "default": problem},
    }
    if route.body is not None:
        body = {"$ref": REF.format(name=route.body.__name__)}
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
    return operation


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": {"type": "string"},
    }
