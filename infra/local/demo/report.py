"""The demo's report: facts from the tables and the posts, as JSON for machines and as pages for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from infra.local.demo.delivery import Outcome
from infra.local.demo.shops import SHOPS
from infra.local.demo.verify import Verdict

_TENANTS = """
SELECT t.slug, t.name, t.currency, count(o.*)::integer AS orders,
       coalesce(sum(o.total_cents), 0)::bigint AS total_cents,
       coalesce(sum(o.refunded_cents), 0)::bigint AS refunded_cents,
       (count(*) FILTER (WHERE o.status = 'cancelled'))::integer AS cancelled,
       (SELECT count(*) FROM commissions c WHERE c.tenant_id = t.tenant_id)::integer AS commissions,
       (SELECT coalesce(sum(c.commission_cents), 0) FROM commissions c WHERE c.tenant_id = t.tenant_id)::bigint
           AS commission_cents
FROM tenants t LEFT JOIN orders o ON o.tenant_id = t.tenant_id
WHERE t.slug = ANY (%(shops)s) GROUP BY t.tenant_id ORDER BY t.slug
"""
_LATENCY = """
SELECT t.slug, count(*)::integer AS chains,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY s.seconds) AS p50,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY s.seconds) AS p95,
       percentile_cont(0.99) WITHIN GROUP (ORDER BY s.seconds) AS p99,
       max(s.seconds) AS longest
FROM (SELECT tenant_id, extract(epoch FROM finished_at - accepted_at)::float AS seconds
      FROM task_run WHERE task = 'commerce-order-created' AND state = 'succeeded') s
JOIN tenants t ON t.tenant_id = s.tenant_id GROUP BY t.slug ORDER BY t.slug
"""
_ATTRIBUTION = """
SELECT r.model, r.channel, sum(r.revenue_cents)::bigint AS cents
FROM attribution_results r JOIN tenants t ON t.tenant_id = r.tenant_id
WHERE r.window_days = 30 AND t.slug = ANY (%(shops)s) GROUP BY 1, 2
"""
_EMAILS = "SELECT state, count(*)::integer AS n FROM review_email_queue GROUP BY 1 ORDER BY 1"
_RUNS = """
SELECT count(*)::integer AS runs, (SELECT count(*) FROM task_attempt)::integer AS failed_attempts,
       (SELECT count(DISTINCT (tenant_id, run_id)) FROM task_attempt)::integer AS repaired_runs
FROM task_run WHERE state = 'succeeded'
"""
_DEAD = "SELECT task, error_message FROM dead_letter WHERE state = 'open' ORDER BY created_at"
_MODELS = ("first_touch", "last_touch", "linear", "time_decay", "position_based", "last_non_direct")


def gather(
    database_url: str, outcomes: Sequence[Outcome], verdict: Verdict, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The report as JSON. Money in cents, durations in seconds."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        shops = {"shops": [shop.slug for shop in SHOPS]}

        def query(statement: str) -> list[dict[str, Any]]:
            return connection.execute(statement.encode(), shops).fetchall()

        attribution: dict[str, dict[str, int]] = {model: {} for model in _MODELS}
        for row in query(_ATTRIBUTION):
            attribution[row["model"]][row["channel"]] = row["cents"]
        return {
            "passed": verdict.is_good,
            "checks": verdict.checks,
            "problems": verdict.problems,
            "tenants": query(_TENANTS),
            "webhook_to_done_s": query(_LATENCY),
            "webhook_answer_s": percentiles([outcome.seconds for outcome in outcomes]),
            "webhooks": {
                "posted": len(outcomes),
                "by_kind": Counter(outcome.delivery.kind.value for outcome in outcomes),
                "by_status": Counter(str(outcome.status) for outcome in outcomes),
                "posted_again": sum(outcome.tries > 1 for outcome in outcomes),
            },
            "attribution_cents": attribution,
            "review_emails": {row["state"]: row["n"] for row in query(_EMAILS)},
            "runs": query(_RUNS)[0],
            "dead_letters": query(_DEAD),
            **facts,
        }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Nearest-rank percentiles."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 4)
        for name, share in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items()
    }


def show(console: Console, report: Mapping[str, Any]) -> None:
    """Print the report for a person."""
    console.print()
    console.print(_tenant_table(report))
    console.print(_attribution_table(report))
    if "weights" in report.get("training", {}):
        console.print(_training_table(report["training"]))
    console.print(_page(report))
    if report["passed"]:
        verdict = Text(f"Nothing lost, nothing doubled: {report['checks']:,} comparisons hold.", "bold green")
    else:
        verdict = Text("\n".join(["Not as sent:", *report["problems"][:12]]), "bold red")
    console.print(Panel(verdict, expand=False))


def _tenant_table(report: Mapping[str, Any]) -> Table:
    latency = {row["slug"]: row for row in report["webhook_to_done_s"]}
    table = Table(title="Tenants", title_justify="left", header_style="bold")
    columns = (
        "",
        "orders",
        "charged",
        "refunded",
        "cancelled",
        "commissions",
        "webhook to done: median",
        "p95",
        "p99",
    )
    for name in columns:
        table.add_column(name, justify="left" if not name else "right")
    for row in report["tenants"]:
        took = latency.get(row["slug"], {})
        table.add_row(
            row["name"],
            f"{row['orders']:,}",
            _money(row["total_cents"], row["currency"]),
            _money(row["refunded_cents"], row["currency"]),
            str(row["cancelled"]),
            f"{row['commissions']} for {_money(row['commission_cents'], row['currency'])}",
            *(f"{took[name]:.2f} s" if took else "-" for name in ("p50", "p95", "p99")),
        )
    return table


def _attribution_table(report: Mapping[str, Any]) -> Table:
    models: Mapping[str, Mapping[str, int]] = report["attribution_cents"]
    channels = sorted({channel for cents in models.values() for channel in cents})
    table = Table(title="Revenue by channel under each model", title_justify="left", header_style="bold")
    table.add_column("")
    for model in models:
        table.add_column(model.replace("_", " "), justify="right")
    for channel in channels:
        table.add_row(channel, *(_amount(cents.get(channel, 0)) for cents in models.values()))
    table.add_section()
    table.add_row("sum", *(_amount(sum(cents.values())) for cents in models.values()), style="bold")
    return table


def _training_table(training: Mapping[str, Any]) -> Table:
    """The rule models' credits beside those of the model that was trained."""
    judged, cents = training["metrics"]["held_out"], training["cents"]
    title = (
        f"{training['shop']}: a model ({training['algorithm']}) trained in {training['seconds']} s on"
        f" {training['samples']:,} journeys, {training['conversions']:,} conversions; log loss of those not seen"
        f" {judged['log_loss']:.4f}, of the rate alone {judged['base']:.4f}"
    )
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("")
    for name in ("learnt weight", *cents):
        table.add_column(name.replace("_", " "), justify="right")
    weights = training["weights"]
    for channel in sorted({*weights, *(each for by in cents.values() for each in by)}):
        amounts = (_amount(by.get(channel, 0)) for by in cents.values())
        table.add_row(channel, f"{weights.get(channel, 0):.3f}", *amounts)
    table.add_section()
    table.add_row("sum", "", *(_amount(sum(by.values())) for by in cents.values()), style="bold")
    return table


def _page(report: Mapping[str, Any]) -> Group:
    hooks, answer, runs = report["webhooks"], report["webhook_answer_s"], report["runs"]
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in hooks["by_kind"].items())
    emails = ", ".join(f"{number:,} {state}" for state, number in report["review_emails"].items())
    calls = report.get("provider_calls", {})
    answered = f"{answer.get('p50', 0) * 1000:.0f} ms (median), {answer.get('p99', 0) * 1000:.0f} ms (p99)"
    received, failed = calls.get("received", 0), calls.get("failed_on_purpose", 0)
    repaired = f"{runs['failed_attempts']:,} attempts failed, {runs['repaired_runs']:,} runs were repaired by another"
    lines = [
        f"Webhooks     {hooks['posted']:,} posted: {kinds}",
        f"             answered in {answered}; by status {dict(hooks['by_status'])}",
        f"Shopify      {received:,} calls, {failed:,} of them failed on purpose",
        f"Runs         {runs['runs']:,} done; {repaired}",
        f"Speed        {report.get('orders_per_second', 0)} orders a second with all their events",
        f"E-mails      {emails}",
        *_book_lines(report.get("books", {})),
        *_review_lines(report.get("reviews", {})),
        *_experiment_lines(report.get("experiment", {})),
        f"Dead letters {len(report['dead_letters'])}",
        *(f"             {row['task']}: {row['error_message'][:90]}" for row in report["dead_letters"][:6]),
        "Time         " + ", ".join(f"{name} {took} s" for name, took in report.get("seconds", {}).items()),
    ]
    return Group(*(Text(line) for line in lines))


def _book_lines(books: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"{'Best day' if at == 0 else '':<12} {slug}, {each['day']}: {each['orders']} orders, net revenue"
        f" {_amount(each['lines']['net_revenue'])}, contribution {_amount(each['lines']['contribution_margin'])},"
        f" net profit {_amount(each['lines']['net_profit'])}"
        for at, (slug, each) in enumerate(books.items())
    ]


def _review_lines(reviews: Mapping[str, Mapping[str, Any]]) -> list[str]:
    counts = Counter[str]()
    for each in reviews.values():
        counts.update(each["counts"])
    told = ", ".join(f"{counts[name]:,} {name}" for name in counts if name not in {"sent", "converted"})
    return [f"Reviews      {counts['sent']:,} customers asked: {told}"] if counts else []


def _experiment_lines(experiment: Mapping[str, Any]) -> list[str]:
    if not experiment:
        return []
    lines = [
        f"A/B test     {experiment['name']}: {experiment['events']:,} events, {experiment['repeated']:,} of them twice"
    ]
    for name, each in experiment["variants"].items():
        best = f", best with {each['chance_to_be_best']:.0%}" if "chance_to_be_best" in each else ""
        lines.append(
            f"             {name}: {each['visitors']:,} visitors, {each['cart_visitors']:,} carts,"
            f" {each['purchases']:,} orders for {_amount(each['revenue_cents'])}{best},"
            f" gets {each['weight_basis_points'] / 100:.2f} % of new visitors"
        )
    return lines


def _amount(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100:,}.{abs(cents) % 100:02d}"


def _money(cents: int, currency: str) -> str:
    return f"{_amount(cents)} {currency}"
