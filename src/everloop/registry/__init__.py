"""Model versions, their stages and aliases: only a passed verdict may hold an alias."""

from __future__ import annotations

from everloop.registry.versions import (
    Stage,
    alias,
    drop_alias,
    get,
    latest,
    list_versions,
    register,
    set_alias,
    set_stage,
)

__all__ = ["Stage", "alias", "drop_alias", "get", "latest", "list_versions", "register", "set_alias", "set_stage"]
