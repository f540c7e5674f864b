"""Which version answers a request: the plan's shares, sticky by key, with the propensity of the choice."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from everloop.errors import RequestError, close_match
from everloop.types import Plan, Variant

__all__ = ["Route", "Router"]


class Route(NamedTuple):
    """The version that answers, its role, the probability with which it was chosen, and by what.

    `why`: `only` (nobody else takes a share), `early` (before the plan's `since`), `key` (sticky), `weight` (without
    a key, by the prediction's id), `override` (the caller named the version: chosen with certainty, so it is no
    randomised evidence). `key` is the digest of the key that was drawn by.
    """

    version: str
    variant: str
    propensity: float
    why: str
    key: str = ""


class Router:
    """Routes under one plan; a new plan is a new router.

    A key's place in [0, 1) depends on the model, the candidate's version and the key alone: it stays with its version,
    raising the weight only ever moves keys to the candidate, and the next candidate draws its keys afresh.
    """

    def __init__(self, plan: Plan) -> None:
        champion, candidate = plan.champion, plan.candidate
        total = sum(v.weight for v in plan.variants)
        self._share = candidate.weight / total if candidate else 0.0
        self._since = plan.since
        self._only = Route(champion.version, "champion", 1.0, "only")
        self._early = Route(champion.version, "champion", 1.0, "early")
        self._by_key = self._pair(champion, candidate, "key")
        self._by_weight = self._pair(champion, candidate, "weight")
        self._overrides = {v.version: Route(v.version, v.role, 1.0, "override") for v in plan.variants}
        self._salt = f"{plan.model}\0{candidate.version if candidate else ''}\0".encode()

    def route(self, key: str | None, id: str, time: float, override: str | None = None) -> Route:
        """Return who answers prediction `id` of `key` at event time `time`; an unknown override is a `RequestError`.

        Without a key the id decides, so that a request sent again is answered by the same version.
        """
        if override is not None:
            return self._named(override)
        if self._share == 0.0:
            return self._only
        if time < self._since:
            return self._early
        if key is None:
            return self._by_weight[self._place(id) < self._share]
        return self._by_key[self._place(key) < self._share]

    def _pair(self, champion: Variant, candidate: Variant | None, why: str) -> tuple[Route, Route]:
        other = candidate or champion
        return (
            Route(champion.version, "champion", 1.0 - self._share, why),
            Route(other.version, "candidate", self._share, why),
        )

    def _named(self, version: str) -> Route:
        route = self._overrides.get(version)
        if route is None:
            known = ", ".join(self._overrides)
            raise RequestError(
                f"version {version!r} is not in the plan{close_match(version, self._overrides)}: {known}"
            )
        return route

    def _place(self, key: str) -> float:
        digest = blake2b(self._salt + key.encode(errors="surrogatepass"), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 11) * 2.0**-53  # 53 bits: exact, and never rounds up to 1.0
