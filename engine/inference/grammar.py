"""JSON schemas as llama.cpp grammars (GBNF), for answers that must follow one.
The conversion is llama-cpp-python's own, imported on first use; what it would pass over is refused here by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from engine.gguf.llama_library import submodule
from store.errors import BadInput

_MOST = 1000
"""Of items or characters that a schema may count: the grammar spells each one out."""
_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs", "definitions"}
    | {"deprecated", "readOnly", "writeOnly", "strict", "discriminator"}
)
_FORMATS = frozenset({"date", "time", "date-time", "uuid", "uuid1", "uuid2", "uuid3", "uuid4", "uuid5"})
_ALONE = ("$ref", "oneOf", "anyOf", "const", "enum")
"""Keywords of which the first decides: the conversion reads none beside it but those that `_BESIDE` names."""
_BESIDE = {"enum": {"type"}, "const": {"type"}}
_BY_TYPE: dict[str | None, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
}
_BY_TYPE[None] = _BY_TYPE["object"] | _BY_TYPE["array"]


def from_schema(text: str) -> str:
    """The grammar of the JSON that a schema (as JSON text) allows.

    Raises BadInput for a schema that cannot be followed exactly, naming what in it.
    """
    try:
        schema = _unwrapped(json.loads(text))
        for path, one in _schemas(schema, "schema"):
            _check(path, one)
        return str(submodule("llama_grammar").json_schema_to_gbnf(json.dumps(schema)))
    except BadInput:
        raise
    except RecursionError:
        raise _refused("The schema is nested too deeply") from None
    except Exception as error:  # the conversion raises whatever breaks first: AssertionError, KeyError, ValueError
        raise _refused(f"The schema cannot be used ({type(error).__name__}: {str(error)[:200]})") from None


def _refused(what: str) -> BadInput:
    return BadInput(f"{what}.", where="response_format", todo="Simplify the schema.")


def _unwrapped(schema: Any) -> Any:
    """The schema with each `allOf` of one part replaced by that part: pydantic writes them around references."""
    if isinstance(schema, list):
        return [_unwrapped(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    parts = schema.get("allOf")
    if isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], dict):
        schema = {key: value for key, value in schema.items() if key != "allOf"} | parts[0]
    return {key: _unwrapped(value) for key, value in schema.items()}


def _schemas(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A schema and all in it, each with where it is."""
    if not isinstance(schema, dict):
        raise _refused(f"{path} is not a JSON schema object")
    yield path, schema
    for key in ("properties", "$defs", "definitions"):
        for name, one in (schema.get(key) or {}).items():
            yield from _schemas(one, f"{path}.{key}.{name}")
    for key in ("oneOf", "anyOf", "prefixItems"):
        for at, one in enumerate(schema.get(key) or []):
            yield from _schemas(one, f"{path}.{key}[{at}]")
    for key in ("items", "additionalProperties"):
        if isinstance(one := schema.get(key), dict):
            yield from _schemas(one, f"{path}.{key}")


def _check(path: str, schema: dict[str, Any]) -> None:
    """Refuse what the conversion would pass over, and counts that would fill the memory."""
    kind = schema.get("type")
    first = next((key for key in _ALONE if key in schema), None)
    if isinstance(kind, list):
        known: frozenset[str] | set[str] = {"type"}
    elif first is not None:
        known = {first, *_BESIDE.get(first, ())}
    else:
        known = _BY_TYPE.get(kind, frozenset()) | {"type"}
    left = sorted(schema.keys() - known - _ANNOTATIONS)
    if left:
        raise _refused(f"{path} uses {left[0]}, which cannot be enforced there")
    if schema.get("format", "date") not in _FORMATS:
        raise _refused(f"{path} uses the format {schema['format']!r}, which cannot be enforced")
    if "items" in schema and "prefixItems" in schema:
        raise _refused(f"{path} uses items beside prefixItems, which cannot be enforced")
    if {"minItems", "maxItems"} & schema.keys() and not isinstance(schema.get("items"), dict):
        raise _refused(f"{path} counts items without saying what they are")
    for key in ("minItems", "maxItems", "minLength", "maxLength"):
        count = schema.get(key, 0)
        if not isinstance(count, int) or not 0 <= count <= _MOST:
            raise _refused(f"{path}.{key} must be a whole number from 0 to {_MOST:,}")
