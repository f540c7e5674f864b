"""The protocol's model repository over a plan: what there is, stop answering, answer again.

Which versions answer is the plan's to say. A load brings the newest plan; an unload leaves a mark beside the plan file,
so that every worker follows it and a restart does not forget it.
"""

from __future__ import annotations

from everloop.errors import NotFoundError, SystemError_
from everloop.serving.plane import Plane
from everloop.serving.protocol import RepositoryModel
from everloop.serving.watch import PlanWatch

__all__ = ["Repository"]


class Repository:
    """Lists, unloads and loads the model of one plan."""

    def __init__(self, plane: Plane, watch: PlanWatch) -> None:
        self._plane, self._watch = plane, watch

    def index(self, ready: bool) -> list[RepositoryModel]:
        """Return the plan's versions; with `ready` those alone that answer."""
        plan = self._plane.plan
        if plan is None or (ready and self._plane.unloaded):
            return []
        names = [(plan.model, v.version) for v in plan.variants]
        if self._plane.unloaded:
            return [RepositoryModel(*name, "UNAVAILABLE", "unloaded") for name in names]
        return [RepositoryModel(*name, "READY") for name in names]

    async def load(self, model: str) -> None:
        """Answer again, by the newest plan; raises `SystemError_` where that cannot be taken over."""
        self._check(model)
        self._watch.mark(unloaded=False)
        await self._watch.look()
        if self._watch.error:
            raise SystemError_(self._watch.error)

    def unload(self, model: str) -> None:
        """Answer no request from now on, until a load; raises `NotFoundError` for another model."""
        self._check(model)
        self._watch.mark(unloaded=True)

    def _check(self, model: str) -> None:
        plan = self._plane.plan
        if plan is None or model != plan.model:
            raise NotFoundError("model", model, (plan.model,) if plan else ())
