"""What our processes say of themselves: lines for persons, or Elastic Common Schema JSON."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

__all__ = ["EcsFormatter", "configure_logs"]

ECS_VERSION = "8.11.0"


def configure_logs(
    process: str, service: str = "everloop", *, format: Literal["text", "ecs"] = "text", level: str = "info"
) -> None:
    """Log to stderr from here on, one line an event; a process that has handlers already keeps them.

    `service` is the project. Of uvicorn and the clients of other systems only warnings are logged.
    """
    handler = logging.StreamHandler(sys.stderr)
    if format == "ecs":
        handler.setFormatter(EcsFormatter(service, f"everloop.{process}"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s  %(levelname)-7s  %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.captureWarnings(True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


class EcsFormatter(logging.Formatter):
    """Render a record as one line of JSON; what is given as `extra={"everloop": {...}}` stands under `everloop`."""

    def __init__(self, service: str, dataset: str) -> None:
        super().__init__()
        self._service = service
        self._dataset = dataset

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a value that is no JSON is written as text."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            "@timestamp": time.replace("+00:00", "Z"),
            "log.level": record.levelname.lower(),
            "message": record.getMessage(),
            "ecs.version": ECS_VERSION,
            "service.name": self._service,
            "event.dataset": self._dataset,
            "log.logger": record.name,
            "process.pid": record.process,
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields["error.type"] = record.exc_info[0].__name__
            fields["error.message"] = str(record.exc_info[1])
            fields["error.stack_trace"] = "".join(traceback.format_exception(*record.exc_info))
        if own := getattr(record, "everloop", None):
            fields["everloop"] = own
        return msgspec.json.encode(fields, enc_hook=str).decode()
