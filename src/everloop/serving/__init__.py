"""Answers predictions over the Open Inference Protocol by a plan file, and journals every one of them."""

from everloop.serving.options import ServeOptions
from everloop.serving.plan import PlanFile, read_plan, write_plan
from everloop.serving.router import Route, Router

__all__ = ["PlanFile", "Route", "Router", "ServeOptions", "read_plan", "write_plan"]
