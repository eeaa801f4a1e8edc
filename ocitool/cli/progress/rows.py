"""The rows of text that the terminal shows for a `ProgressState`, limited to its height."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ocitool.cli.output.units import clock, human_size
from ocitool.cli.progress.plain import short_key
from ocitool.cli.progress.state import ProgressState, Step, TransferState

_LIVE_LINES = 5  # last lines shown of a running step
_BAR = 24  # cells of a bar


@dataclass(frozen=True, slots=True)
class Row:
    """One line: *text*, and *right* at the right edge.

    If the terminal is too low, rows of *rank* 2 are dropped first, then those of rank 1.
    """

    text: str
    right: str = ""
    style: str = ""
    rank: int = 0


def rows_of(
    state: ProgressState,
    now: float,
    *,
    height: int = 0,
    final: bool = False,
    fancy: bool = True,
    error: BaseException | None = None,
) -> list[Row]:
    """Return the rows to show, at most *height* of them unless that is 0.

    With *final*, steps and transfers that have not ended are marked as canceled; *error* is what
    has ended the command.  *fancy* permits non-ASCII characters.
    """
    rows = [*_steps(state, now, final, error), *_transfers(state, now, final, fancy)]
    return _fit(rows, height) if height else rows


def _fit(rows: list[Row], height: int) -> list[Row]:
    """Drop the oldest finished rows first, then output lines, then rows from the top."""
    for rank in (2, 1):
        excess = len(rows) - height
        if excess <= 0:
            return rows
        drop = {number for number, row in enumerate(rows) if row.rank == rank}
        drop = set(sorted(drop)[:excess])
        rows = [row for number, row in enumerate(rows) if number not in drop]
    return rows if len(rows) <= height else rows[:1] + rows[len(rows) - height + 1 :]


# -- steps ---------------------------------------------------------------------------------


def _steps(
    state: ProgressState, now: float, final: bool, error: BaseException | None
) -> Iterator[Row]:
    if not state.steps:
        return
    label = _outcome(state, error) if final else f"({_ended_steps(state)}/{len(state.steps)})"
    yield Row(f"[+] Building {clock(now - state.began)} {label}", style="bold")
    for step in state.steps.values():
        yield from _step(step, now, final)


def _ended_steps(state: ProgressState) -> int:
    return sum(step.seconds is not None for step in state.steps.values())


def _outcome(state: ProgressState, error: BaseException | None) -> str:
    steps = state.steps.values()
    interrupted = isinstance(error, KeyboardInterrupt)
    if any(step.error for step in steps) or (error is not None and not interrupted):
        return "FAILED"
    if interrupted or any(step.canceled or step.seconds is None for step in steps):
        return "CANCELED"
    return "FINISHED"


def _step(step: Step, now: float, final: bool) -> Iterator[Row]:
    if step.error:
        yield Row(f" => ERROR {step.name}", clock(step.seconds or 0), "red")
        yield from (Row(f" => => # {line}", style="red", rank=1) for line in step.tail)
    elif step.canceled or (final and step.seconds is None):
        seconds = now - step.started if step.seconds is None else step.seconds
        yield Row(f" => CANCELED {step.name}", clock(seconds), "yellow")
    elif step.seconds is not None:
        mark = "CACHED " if step.cached else ""
        yield Row(f" => {mark}{step.name}", clock(step.seconds), "blue", rank=2)
    else:
        yield Row(f" => {step.name}", clock(now - step.started))
        for line in list(step.tail)[-_LIVE_LINES:]:
            yield Row(f" => => # {line}", style="dim", rank=1)


# -- transfers -----------------------------------------------------------------------------


def _transfers(state: ProgressState, now: float, final: bool, fancy: bool) -> Iterator[Row]:
    for transfer in state.transfers.values():
        head = f"{short_key(transfer.latest.key)}  {transfer.latest.action:<6}"
        if transfer.latest.state != "running":
            yield _ended(transfer, head)
        elif final:
            yield Row(f"{head}  canceled", _moved(transfer), "yellow")
        else:
            yield Row(f"{head}  {_bar(transfer, fancy)}", _pace(transfer, now))


def _ended(transfer: TransferState, head: str) -> Row:
    latest = transfer.latest
    size = latest.total or latest.done
    style = "red" if latest.state == "failed" else "blue"
    right = human_size(size, 3) if latest.state == "done" else ""
    return Row(f"{head}  {latest.state}", right, style, rank=0 if latest.state == "failed" else 2)


def _bar(transfer: TransferState, fancy: bool) -> str:
    if not transfer.latest.total:
        return ""
    share = min(1.0, max(0.0, transfer.latest.done / transfer.latest.total))
    full, empty = ("━", "─") if fancy else ("=", "-")
    cells = int(share * _BAR)
    return f"{full * cells}{empty * (_BAR - cells)} {share:4.0%}"


def _moved(transfer: TransferState) -> str:
    done, total = transfer.latest.done, transfer.latest.total
    return human_size(done, 3) + (f" / {human_size(total, 3)}" if total else "")


def _pace(transfer: TransferState, now: float) -> str:
    speed, left = transfer.speed(now), transfer.remaining(now)
    parts = [_moved(transfer)]
    if speed:
        parts.append(f"{human_size(speed, 3)}/s")
    if left is not None:
        parts.append(f"ETA {clock(left)}")
    return "  ".join(parts)
