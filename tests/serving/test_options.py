from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from everloop.errors import UsageError
from everloop.serving.options import ServeOptions, check_options, is_loopback


def options(**fields: Any) -> ServeOptions:
    return ServeOptions(plan=Path("plan.json"), journal=Path("journal"), keys=Path("keys"), **fields)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_alone_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    check_options(options(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_anywhere_else_needs_one(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(UsageError, match="--token-file"):
        check_options(options(host=host))
    check_options(options(host=host, token="secret"))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"port": 70000}, "70000 lies outside"),
        ({"token": "a\nb"}, "one line"),
        ({"token": "schlüssel"}, "ASCII"),
        ({"max_body": 0}, "at least 1"),
        ({"threads": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        check_options(options(**fields))
