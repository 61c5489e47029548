"""Custom resources judged as an API server judges them, without one.

A server first drops nulls of fields that may not be null, then fills in
defaults, then validates the structural schema, then asks the CEL rules. Asked
to be strict it also names fields that it would drop in silence, and so does
this. Rules that compare with an older self do not apply to a new object.

The definitions are the operators' own; BLOCKYARD_CRDS names a folder of them.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.rendering import Manifest
from tests.judges import absent

Schema = Mapping[str, Any]
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def definitions() -> dict[tuple[str, str], Schema]:
    """Schemas by (apiVersion, kind); the calling test ends where there are none."""
    folder = os.environ.get("BLOCKYARD_CRDS")
    if folder is None:
        pytest.skip(
            "no CRDs: name a folder with those of KubeRay, the Gateway API and the Prometheus "
            "operator in BLOCKYARD_CRDS"
        )
    if find_spec("celpy") is None:
        absent("cel-python", "pip install '.[deploy]'")
    found: dict[tuple[str, str], Schema] = {}
    for path in sorted(Path(folder).rglob("*.yaml")):
        for document in yaml.load_all(path.read_text(), Loader=Loader):
            if document and document["kind"] == "CustomResourceDefinition":
                spec = document["spec"]
                for version in spec["versions"]:
                    key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                    found[key] = version["schema"]["openAPIV3Schema"]
    return found


def mistakes(resource: Manifest) -> list[str]:
    """Everything that a strict API server would say. KeyError when its kind is not defined."""
    schema = definitions()[resource["apiVersion"], resource["kind"]]
    stored = with_defaults(without_nulls(copy.deepcopy(resource), schema), schema)
    validator = jsonschema.Draft202012Validator(_root(schema))
    structural = [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"
        for error in validator.iter_errors(stored)
    ]
    return structural + list(_broken_rules(stored, schema, ""))


def without_nulls(value: Any, schema: Schema) -> Any:
    """As an API server prunes: a null where none is allowed counts as not given."""
    if isinstance(value, dict):
        return {
            key: without_nulls(item, _child(schema, key))
            for key, item in value.items()
            if item is not None or _child(schema, key).get("nullable") or not _child(schema, key)
        }
    if isinstance(value, list):
        return [without_nulls(item, schema.get("items", {})) for item in value]
    return value


def with_defaults(value: Any, schema: Schema) -> Any:
    """Defaults of absent fields, at every depth that is present."""
    if isinstance(value, dict):
        given = {
            key: copy.deepcopy(field["default"])
            for key, field in schema.get("properties", {}).items()
            if "default" in field and key not in value
        }
        return {
            key: with_defaults(item, _child(schema, key))
            for key, item in {**value, **given}.items()
        }
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {})) for item in value]
    return value


def _child(schema: Schema, key: str) -> Schema:
    rest = schema.get("additionalProperties")
    child: Schema = schema.get("properties", {}).get(key, rest if isinstance(rest, dict) else {})
    return child


def _root(schema: Schema) -> dict[str, Any]:
    converted = _as_json_schema(schema)
    converted["properties"]["metadata"] = {"type": "object"}
    return converted


def _as_json_schema(schema: Schema) -> dict[str, Any]:
    """A structural schema in JSON Schema's words, refusing fields that it does not name."""
    plain = {k: v for k, v in schema.items() if not k.startswith("x-") and k != "nullable"}
    for word in ("items", "additionalProperties"):
        if isinstance(plain.get(word), dict):
            plain[word] = _as_json_schema(plain[word])
    if "properties" in plain:
        plain["properties"] = {k: _as_json_schema(v) for k, v in plain["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            plain.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        plain.pop("anyOf", None)
        plain["type"] = ["integer", "string"]
    if schema.get("nullable") and isinstance(plain.get("type"), str):
        plain["type"] = [plain["type"], "null"]
    return plain


def _broken_rules(value: Any, schema: Schema, path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" not in rule["rule"] and not _holds(rule["rule"], value):
            yield f"{path}: {rule.get('message', rule['rule'])}"
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _broken_rules(item, _child(schema, key), f"{path}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _broken_rules(item, schema.get("items", {}), f"{path}/{index}")


def _holds(rule: str, value: Any) -> bool:
    cel = import_module("celpy")
    environment = cel.Environment()
    compiled = environment.program(environment.compile(rule))
    return bool(compiled.evaluate({"self": cel.json_to_cel(value)}))
