"""What ``shim.status()`` returns, and its text."""

from __future__ import annotations

import sys
from typing import Iterator

from .layout import Layout
from .record import Record
from .registry import Outcome


class FoundNone(Record):
    """A place where a guard found a None."""

    optimizer: str
    where: str
    line: str
    times: int

    def __str__(self) -> str:
        return f"{self.optimizer} got weight_decay=None in {self.where}, at {self.line}, {self.times}x"


class Status(Record):
    """What shim does in this process. ``print(shim.status())`` prints it as text."""

    #: The patches are applied.
    active: bool
    #: What armed this process: "sitecustomize", "enabled", "preimport" or "activate"; None if nothing did.
    door: str | None
    #: torch.optim was imported before this process was armed. What the program had imported
    #: by then is replaced only where a module holds it.
    late: bool
    #: What the loaded torch has; None as long as torch.optim is not imported.
    layout: Layout | None
    outcomes: tuple[Outcome, ...]
    #: The release of torch that the program was written for; None if it was not given.
    written_for: str | None
    #: Where the guards found a None so far: optimizer, place, the program's line, how often.
    fired: tuple[FoundNone, ...]
    #: The last error in shim itself, or None.
    error: str | None

    def __str__(self) -> str:
        return "\n".join(_in_words(self))


def _in_words(status: Status) -> Iterator[str]:
    if status.door is None:
        yield "shim: not armed in this process"
    elif not status.active:
        yield f"shim: armed by {status.door}, waiting for torch"
    else:
        yield f"shim: active, armed by {status.door}" + (", after torch was imported (late)" * status.late)
    if status.error:
        yield f"error: {status.error}"
    if status.written_for:
        yield f"written for: torch {status.written_for}"
    if status.layout:
        known = "" if status.layout.known else ", newer than any that shim was tested with"
        yield f"torch: {status.layout.version}{known}"
    width = max(len(outcome.patch) for outcome in status.outcomes)
    states = max(len(outcome.state) for outcome in status.outcomes)
    for outcome in status.outcomes:
        yield f"{outcome.patch:<{width}}  {outcome.state:<{states}} {outcome.reason}"
    native = sys.modules.get(f"{__package__}.adopt.native")
    if native is not None:
        yield f"ADOPT on the CPU: {native.in_words()}"
    yield from (str(place) for place in status.fired)
