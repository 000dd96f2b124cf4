"""What the doctor finds, and how it is printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. What is not well says what to do."""

    what: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def fine(what: str, detail: str) -> Finding:
    return Finding(what, Verdict.OK, detail)


def warned(what: str, detail: str, remedy: str) -> Finding:
    return Finding(what, Verdict.WARNING, detail, remedy)


def failed(what: str, detail: str, remedy: str) -> Finding:
    return Finding(what, Verdict.FAILED, detail, remedy)


def as_table(findings: Iterable[Finding]) -> str:
    """A line each, the remedy below what is not well."""
    every = list(findings)
    width = max((len(each.what) for each in every), default=0)
    lines = []
    for each in every:
        lines.append(f"{each.verdict:8} {each.what:{width}}  {each.detail}")
        if each.remedy:
            lines.append(f"{'':8} {'':{width}}  -> {each.remedy}")
    counts = {verdict: sum(each.verdict is verdict for each in every) for verdict in Verdict}
    lines += ["", ", ".join(f"{count} {verdict}" for verdict, count in counts.items())]
    return "\n".join(lines) + "\n"
