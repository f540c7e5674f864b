"""`[triggers] when`: names of triggers joined by `&` and `|`, as a check."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from everloop.checks import Check
from everloop.errors import SettingsError, close_match
from everloop.triggers.conditions import TriggerState

__all__ = ["names_in", "parse"]


def parse(text: str, checks: Mapping[str, Check[TriggerState]]) -> Check[TriggerState]:
    """Return the check that an expression means; raises `SettingsError` for what is none."""
    return _build(_tree(text), text, checks)


def names_in(text: str) -> tuple[str, ...]:
    """Return the triggers that an expression names."""
    if not text:
        return ()
    return tuple(dict.fromkeys(node.id for node in ast.walk(_tree(text)) if isinstance(node, ast.Name)))


def _tree(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise _refused(text) from None


def _build(node: ast.expr, text: str, checks: Mapping[str, Check[TriggerState]]) -> Check[TriggerState]:
    match node:
        case ast.Name(id=name) if name in checks:
            return checks[name]
        case ast.Name(id=name):
            hint = close_match(name, checks) or f": on are {', '.join(checks) or 'none'}"
            raise SettingsError(f"[triggers.when] {text!r}: {name!r} is no trigger that is turned on{hint}")
        case ast.BinOp(left=left, op=ast.BitAnd(), right=right):
            return _build(left, text, checks) & _build(right, text, checks)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _build(left, text, checks) | _build(right, text, checks)
    raise _refused(text)


def _refused(text: str) -> SettingsError:
    return SettingsError(f"[triggers.when] {text!r}: write names of triggers joined by & and |, with parentheses")
