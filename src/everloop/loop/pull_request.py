"""A report as a comment on the pull request that brought a commit, through GitHub's API; an earlier one is renewed."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from everloop.errors import SystemError_, UsageError

__all__ = ["comment"]

_PAGE, _PAGES = 100, 30
_TIMEOUT = 30
_OPEN_HOSTS = ("127.0.0.1", "localhost", "::1")


def comment(report: str, repository: str, commit: str, token: str, api: str) -> str | None:
    """Post a report, or renew the one that begins with the same line; returns its address, None without a pull request.

    Raises UsageError for a repository or API that is none, SystemError_ where GitHub refuses.
    """
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]*\w", repository):
        raise UsageError(f"--repository {repository!r}: write OWNER/NAME")
    if urlsplit(api).scheme != "https" and urlsplit(api).hostname not in _OPEN_HOSTS:
        raise UsageError(f"--api {api!r}: a token is sent over https:// only")
    base = f"{api.rstrip('/')}/repos/{repository}"
    pulls = _call("GET", f"{base}/commits/{quote(commit, safe='')}/pulls", token)
    if not pulls:
        return None
    comments = f"{base}/issues/{int(pulls[0]['number'])}/comments"
    earlier = _earlier(comments, token, report.partition("\n")[0])
    body = {"body": report}
    if earlier is None:
        told = _call("POST", comments, token, body)
    else:
        told = _call("PATCH", f"{base}/issues/comments/{int(earlier)}", token, body)
    return str(told["html_url"])


def _earlier(comments: str, token: str, mark: str) -> int | None:
    """Return the id of the comment that begins with a line, or None."""
    for page in range(1, _PAGES + 1):
        found = _call("GET", f"{comments}?per_page={_PAGE}&page={page}", token)
        for one in found:
            if str(one["body"]).partition("\n")[0].rstrip() == mark:
                return int(one["id"])
        if len(found) < _PAGE:
            break
    return None


def _call(method: str, url: str, token: str, body: dict[str, Any] | None = None) -> Any:
    headers = {
        "accept": "application/vnd.github+json",
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "user-agent": "everloop",
        "x-github-api-version": "2022-11-28",
    }
    content = msgspec.json.encode(body) if body is not None else None
    request = urllib.request.Request(url, content, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            return msgspec.json.decode(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            told = error.read().decode(errors="replace")[:200]
        raise SystemError_(f"GitHub answers {error.code} to {method} {urlsplit(url).path}: {told}") from error
    except (OSError, msgspec.MsgspecError) as error:
        cause = getattr(error, "reason", error)  # urllib wraps what the system said
        told = f"{urlsplit(url).netloc} does not answer {method} {urlsplit(url).path}"
        reason = getattr(cause, "strerror", None) or cause
        raise SystemError_(f"{told} ({reason}): look whether --api is right, or try again later") from error
