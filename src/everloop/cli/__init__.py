"""The command line: one file a verb; each parses, calls and prints, and imports what it runs only then."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from everloop.cli import (
    approve,
    audit,
    backtest,
    card,
    ci,
    controller,
    counterfactual,
    data,
    demo,
    deploy,
    deployment,
    doctor,
    drift,
    elastic,
    evaluate,
    events,
    explain,
    feedback,
    gc,
    image,
    init,
    label,
    lineage,
    monitor,
    observe,
    pipeline,
    predict,
    promote,
    rollback,
    run,
    serve,
    show,
    status,
    test,
    track,
    triggers,
    tune,
    up,
)
from everloop.errors import EverloopError

__all__ = ["app", "main"]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("everloop"))
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Keeps machine-learning models right in production."""


app = typer.Typer(
    name="everloop",
    callback=_options,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
VERBS = (
    demo.demo, init.init, doctor.doctor, backtest.backtest, up.up, predict.predict, feedback.feedback,
    run.run, tune.tune, deploy.deploy, approve.approve, promote.promote, rollback.rollback,
    status.status, show.show, lineage.lineage, gc.gc, track.track, serve.serve, controller.controller,
    events.events,
    monitor.monitor, drift.drift, evaluate.evaluate, explain.explain, counterfactual.counterfactual, card.card,
)  # fmt: skip
for verb in VERBS:
    app.command()(verb)
app.command("test")(test.run_checks)
app.add_typer(data.data)
app.add_typer(label.label)
app.add_typer(audit.audit)
app.add_typer(deployment.deployment)
app.add_typer(pipeline.pipeline)
app.add_typer(image.image)
app.add_typer(ci.ci)
app.add_typer(observe.observe)
app.add_typer(triggers.triggers)
app.add_typer(elastic.elastic)


def main() -> None:
    """Run the command line: exit 0 done, 1 a check failed, 2 wrong usage, 3 the system failed; one sentence each."""
    try:
        app()
    except EverloopError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"error: {error.strerror or error}{where}", file=sys.stderr)
        raise SystemExit(3) from None
