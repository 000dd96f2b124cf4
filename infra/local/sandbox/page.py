"""The sandbox's page: what it received, rendered on the server, refreshing itself every two seconds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from infra.local.sandbox.calls import Call, CallLog
from infra.local.sandbox.faults import FaultPlan
from infra.local.sandbox.provider import Provider

_LATEST = 60
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
:root { --bad: #c0392b; --warn: #b9770e; --good: #1e8449; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.05rem; margin: 1.8rem 0 .5rem; }
p.lead { margin: .2rem 0 1.2rem; opacity: .75; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem 1rem; min-width: 8rem; }
.card b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; background: var(--soft); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.fault { color: var(--bad); font-weight: 600; } .refused { color: var(--warn); } .ok { color: var(--good); }
.empty { opacity: .6; padding: .4rem 0; }
"""


def render(
    providers: Mapping[str, Provider], calls: CallLog, plans: Collection[FaultPlan], started_at: datetime
) -> str:
    """The whole page."""
    now = datetime.now(UTC)
    total = sum(tally.calls for tally in calls.tallies.values())
    faults = sum(tally.faults for tally in calls.tallies.values())
    shops = sum(len(provider.summary()) for provider in providers.values())
    cards = "".join(
        f'<div class="card"><b>{value:,}</b>{escape(label)}</div>'
        for label, value in (("calls", total), ("injected faults", faults), ("accounts", shops))
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Tradewind provider sandbox</title><style>{_STYLE}</style></head><body>"
        "<h1>Provider sandbox</h1>"
        f'<p class="lead">Plays {escape(", ".join(providers))} for development. '
        f"Up since {started_at:%H:%M:%S} UTC, now {now:%H:%M:%S}.</p>"
        f'<div class="cards">{cards}</div>'
        f"<h2>Faults switched on</h2>{_plans(plans)}"
        f"<h2>Accounts</h2>{_accounts(providers, calls)}"
        f"<h2>Operations</h2>{_operations(calls)}"
        f"<h2>Last calls</h2>{_calls(calls.latest(_LATEST))}"
        "</body></html>"
    )


def _table(headings: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], empty: str) -> str:
    """A table; a heading is its text and its class. Cells are HTML already."""
    head = "".join(f'<th class="{kind}">{escape(text)}</th>' for text, kind in headings)
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{cell}</td>' for cell, (_, kind) in zip(row, headings, strict=True))
        + "</tr>"
        for row in rows
    )
    if not body:
        return f'<div class="empty">{escape(empty)}</div>'
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _plans(plans: Collection[FaultPlan]) -> str:
    rows = (
        (
            escape(plan.provider),
            f"{plan.rate:.1%}",
            escape(", ".join(plan.kinds)),
            escape(" ".join(part for part in (plan.shop, plan.operation) if part) or "all calls"),
            "no bound" if plan.remaining is None else str(plan.remaining),
        )
        for plan in plans
    )
    headings = (("provider", ""), ("rate", "n"), ("kinds", ""), ("where", ""), ("remaining", "n"))
    return _table(headings, rows, "none: every call is answered as the provider would")


def _accounts(providers: Mapping[str, Provider], calls: CallLog) -> str:
    rows: list[Sequence[str]] = []
    for name, provider in providers.items():
        kept = provider.summary()
        called = [account for provider_name, account in calls.tallies if provider_name == name]
        for account in dict.fromkeys([*kept, *called]):
            tally = calls.tallies.get((name, account))
            state = ", ".join(f"{label} {value}" for label, value in kept.get(account, {}).items())
            counts = (tally.calls, tally.refused, tally.faults) if tally else (0, 0, 0)
            points = f"{tally.points:,.0f}" if tally else "0"
            last = f"{tally.last_at:%H:%M:%S}" if tally and tally.last_at else ""
            rows.append(
                (
                    escape(name),
                    escape(account),
                    escape(state),
                    *(f"{count:,}" for count in counts),
                    points,
                    last,
                )
            )
    headings = (
        ("provider", ""), ("account", ""), ("holds", ""), ("calls", "n"), ("refused", "n"), ("faults", "n"),
        ("points", "n"), ("last call", ""),
    )  # fmt: skip
    return _table(headings, rows, "no call yet")


def _operations(calls: CallLog) -> str:
    rows = (
        (escape(provider), escape(operation), f"{count:,}")
        for (provider, operation), count in calls.operations.most_common()
    )
    return _table((("provider", ""), ("operation", ""), ("calls", "n")), rows, "no call yet")


def _calls(latest: Sequence[Call]) -> str:
    rows = (
        (
            f"{call.at:%H:%M:%S}",
            escape(call.provider),
            escape(call.account),
            escape(call.operation),
            escape(call.subject[:60]),
            _outcome(call),
            f"{call.cost:.0f}",
            f"{call.duration_ms:.1f}",
        )
        for call in latest
    )
    headings = (
        ("time", ""), ("provider", ""), ("account", ""), ("operation", ""), ("about", ""), ("answer", ""),
        ("points", "n"), ("ms", "n"),
    )  # fmt: skip
    return _table(headings, rows, "no call yet")


def _outcome(call: Call) -> str:
    if call.fault is not None:
        status = f" ({call.status})" if call.status else ""
        return f'<span class="fault">fault: {escape(call.fault)}{status}</span>'
    return (
        f'<span class="{"refused" if call.is_refused else "ok"}">{call.status} {escape(call.remark)}</span>'
    )
