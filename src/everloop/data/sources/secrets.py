"""Secrets of sources: put in where `$NAME` stands, and taken out of whatever is told."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus

from everloop.errors import CheckError, EverloopError, SystemError_, UsageError

__all__ = ["Secrets"]

NAME = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


class Secrets:
    """The environment variables that one source names."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self._told, self._environment, self._used = f"[data.sources.{name}]", environment, dict[str, str]()

    def fill(self, text: str, *, in_url: bool = False) -> str:
        """Return a text with the values of the variables it names; raises `UsageError` for one that is not set.

        In a URL a value stands as it must be written there.
        """

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            if name not in self._environment:
                raise UsageError(f"{self._told} needs the environment variable {name}, which is not set")
            self._used[name] = self._environment[name]
            return quote(self._used[name], ":") if in_url else self._used[name]

        return NAME.sub(value, text)

    def filled(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Return the same of each text."""
        return {key: self.fill(text) for key, text in texts.items()}

    def hide(self, text: str) -> str:
        """Return a text in which each value that was put in stands as its name again."""
        values = {
            form: name
            for name, value in self._used.items()
            for form in (value, quote(value, ""), quote(value, ":"), quote_plus(value))
        }
        for value in sorted(filter(None, values), key=len, reverse=True):
            text = text.replace(value, f"${values[value]}")
        return text

    @contextlib.contextmanager
    def spoken(self, url: str, extra: str) -> Iterator[None]:
        """Say what goes wrong in one sentence without any secret, whatever the source's library raises."""
        try:
            yield
        except EverloopError as error:
            kind = (
                UsageError if isinstance(error, UsageError) else CheckError if isinstance(error, CheckError) else None
            )
            told = self.hide(str(error))
            raise (kind or SystemError_)(told if "[data.sources." in told else f"{self._told} {told}") from None
        except ImportError as error:
            driver = error.name or "a driver"
            how = f"pip install 'everloop[{extra}]'" if extra else f"pip install {driver}"
            raise UsageError(f"{self._told} {url} needs {driver}: {how}") from None
        except Exception as error:  # each library raises its own kind
            lines = [line.strip() for line in str(getattr(error, "orig", None) or error).splitlines() if line.strip()]
            reason = self.hide(lines[0] if lines else type(error).__name__)
            raise SystemError_(f"{self._told} {url} cannot be read: {reason}") from None
