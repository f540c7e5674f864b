"""The real clients of Elasticsearch and OpenSearch behind one small interface; none tries anything again by itself."""

from __future__ import annotations

import logging
from typing import Any, Literal, Protocol

from everloop.errors import UsageError

__all__ = ["AnswerError", "SearchClient", "connect"]


class AnswerError(Exception):
    """A server refused a request, with its status; None where no answer came, or one that was cut or foreign."""

    def __init__(self, status: int | None, told: str) -> None:
        super().__init__(told)
        self.status = status


class SearchClient(Protocol):
    """What is asked of a server; each raises `AnswerError`."""

    product: str

    def bulk(self, lines: list[bytes]) -> Any:
        """Send actions and documents; returns the answer by item."""

    def put(self, name: str, policy: dict[str, Any], template: dict[str, Any]) -> list[str]:
        """Put a policy and an index template on the server; returns their paths."""


def connect(
    url: str, secret: str | None = None, server: Literal["elasticsearch", "opensearch"] = "elasticsearch"
) -> SearchClient:
    """Return the client of a server; raises UsageError where it is not installed.

    `secret` is an API key, or `user:password` for OpenSearch.
    """
    return _OpenSearch(url, secret) if server == "opensearch" else _Elasticsearch(url, secret)


class _Elasticsearch:
    product = "Elasticsearch"

    def __init__(self, url: str, secret: str | None) -> None:
        try:
            from elasticsearch import Elasticsearch
        except ImportError as error:
            raise UsageError("Elasticsearch needs its client: pip install 'everloop[elastic]'") from error
        logging.getLogger("elastic_transport").setLevel(logging.ERROR)  # what fails is told by us, once
        self._client = Elasticsearch(url, api_key=secret, max_retries=0, retry_on_timeout=False, request_timeout=30)

    def bulk(self, lines: list[bytes]) -> Any:
        encoded: Any = lines
        return self._asked(lambda: self._client.bulk(operations=encoded))

    def put(self, name: str, policy: dict[str, Any], template: dict[str, Any]) -> list[str]:
        self._asked(lambda: self._client.ilm.put_lifecycle(name=name, **policy))
        self._asked(lambda: self._client.indices.put_index_template(name=name, **template))
        return [f"_ilm/policy/{name}", f"_index_template/{name}"]

    def _asked(self, ask: Any) -> Any:
        from elasticsearch import ApiError, TransportError

        try:
            return ask()
        except TransportError as error:
            raise AnswerError(None, _line(f"{type(error).__name__}: {error.message}")) from error
        except ApiError as error:
            raise AnswerError(error.status_code, _line(f"{error.status_code} {error.message}")) from error


class _OpenSearch:
    product = "OpenSearch"

    def __init__(self, url: str, secret: str | None) -> None:
        try:
            from opensearchpy import OpenSearch
        except ImportError as error:
            raise UsageError("OpenSearch needs its client: pip install 'everloop[opensearch]'") from error
        logging.getLogger("opensearch").setLevel(logging.ERROR)
        who = tuple(secret.split(":", 1)) if secret else None
        if who and len(who) != 2:
            raise UsageError("[elastic] api_key: for OpenSearch its variable holds user:password")
        self._client = OpenSearch(url, http_auth=who, max_retries=0, retry_on_timeout=False, timeout=30)

    def bulk(self, lines: list[bytes]) -> Any:
        return self._asked("POST", "/_bulk", b"\n".join([*lines, b""]), {"content-type": "application/x-ndjson"})

    def put(self, name: str, policy: dict[str, Any], template: dict[str, Any]) -> list[str]:
        places = (f"_plugins/_ism/policies/{name}", policy), (f"_index_template/{name}", template)
        for place, body in places:
            try:
                self._asked("PUT", f"/{place}", body)
            except AnswerError as error:
                if error.status != 409:  # a policy is there: it stays, as its own version is asked for otherwise
                    raise
        return [place for place, _ in places]

    def _asked(self, method: str, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        from opensearchpy import OpenSearchException, TransportError

        try:
            return self._client.transport.perform_request(method, path, body=body, headers=headers)
        except TransportError as error:
            status = error.status_code if isinstance(error.status_code, int) else None
            shown = f"{error.status_code} {error.error}" if status else f"{type(error).__name__}: {error.error}"
            raise AnswerError(status, _line(shown)) from error
        except OpenSearchException as error:
            raise AnswerError(None, _line(f"{type(error).__name__}: {error}")) from error


def _line(text: str) -> str:
    return text.strip().splitlines()[0]
