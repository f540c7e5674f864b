"""Which schema rows must conform to: the served model's, before the first model that of `schema.toml`."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from everloop import registry
from everloop.data import Schema, schema_file
from everloop.errors import SettingsError, close_match
from everloop.loop.workspace import Workspace
from everloop.settings import located

__all__ = ["Served", "check_columns", "frozen_schema", "schema_of", "served"]


class Served(NamedTuple):
    """The version in production and the schema in its bundle."""

    version: str
    schema: Schema


def served(workspace: Workspace) -> Served | None:
    """Return the version in production and its schema; None before the first."""
    with workspace.store.read() as connection:
        version = registry.alias(connection, workspace.name, "champion")
        if version is None:
            return None
        bundle = registry.get(connection, workspace.name, version)["bundle"]
    return Served(version, msgspec.json.decode(workspace.model(bundle).bundle.read("schema.json"), type=Schema))


def check_columns(workspace: Workspace, schema: Schema) -> None:
    """Refuse, with a SettingsError, `[deployment] slices` and `sensitive` that name no input of the schema."""
    deployment = workspace.settings.deployment
    for key in ("slices", "sensitive"):
        named = getattr(deployment, key)
        for column in () if named == "auto" else named:
            if column not in schema.names:
                told = f"[deployment] {key} = {list(named)}: {column!r} is no input{close_match(column, schema.names)}"
                with located(workspace.folder):
                    raise SettingsError(told)


def schema_of(workspace: Workspace) -> Schema:
    """Return the schema frozen with the model in production, which there must be."""
    found = served(workspace)
    assert found is not None
    return found.schema


def frozen_schema(workspace: Workspace) -> Schema | None:
    """Return what rows must conform to, or None where nothing is frozen yet.

    Raises `SettingsError` where `schema.toml` names other columns than the model in production takes.
    """
    frozen, now = schema_file.read(workspace.folder), served(workspace)
    if frozen and now:
        schema_file.check_same_inputs(frozen, now.schema, now.version)
    return now.schema if now else frozen
