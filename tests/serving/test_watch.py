from __future__ import annotations

import logging
import shutil

import pytest
from tests.serving.sites import Site, open_plane, rides_plan

from everloop.serving.metrics import Metrics
from everloop.serving.plan import PlanFile, write_plan
from everloop.serving.plane import Plane
from everloop.serving.watch import PlanWatch
from everloop.types import Plan, Variant


def watch(plane: Plane, site: Site, metrics: Metrics) -> PlanWatch:
    return PlanWatch(plane, PlanFile(site.plan), metrics)


def generation(plane: Plane) -> int | None:
    return plane.plan.generation if plane.plan else None


@pytest.mark.asyncio
async def test_a_plan_is_picked_up_when_it_appears(site: Site) -> None:
    async with open_plane(site) as plane:
        watching = watch(plane, site, Metrics())
        await watching.look()
        assert not plane.ready()
        site.write(1)
        await watching.look()
        assert generation(plane) == 1


@pytest.mark.asyncio
async def test_a_plan_that_fails_leaves_the_old_one_serving(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    async with open_plane(site) as plane:
        watching = watch(plane, site, metrics)
        site.write(1)
        await watching.look()
        for text in ("{", '{"generation":1}'):
            site.plan.write_text(text)
            await watching.look()
            assert watching.error
        site.plan.unlink()
        await watching.look()
        assert generation(plane) == 1
        site.write(2)
        await watching.look()
        assert (generation(plane), watching.error) == (2, None)
    assert "everloop_plan_errors_total 2.0" in metrics.page()[0].decode()
    assert [r.levelno for r in caplog.records if "what was served before" in r.message] == [logging.ERROR] * 2


@pytest.mark.asyncio
async def test_a_bundle_that_comes_late_is_tried_again(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    late = site.folder / "late"
    async with open_plane(site) as plane:
        watching = watch(plane, site, Metrics())
        write_plan(site.plan, rides_plan(1))
        await watching.look()
        write_plan(site.plan, Plan(2, "rides", (Variant("v7", str(late), "champion", 1.0),)))
        for _ in range(100):
            await watching.look()
        assert generation(plane) == 1
        assert str(late) in str(watching.error)
        assert caplog.text.count(str(late)) == 1  # the same reason is logged once
        shutil.copytree(site.folder / "bundles" / "v1", late)
        for _ in range(20):
            await watching.look()
        assert (generation(plane), watching.error) == (2, None)
