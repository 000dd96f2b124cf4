"""Whether a running test does harm, pure: guardrails against the control, and visitors against the weights."""

from __future__ import annotations

from collections.abc import Sequence

from commerce.ab_testing.model import LEAST_VISITORS, AbTest, Finding, GuardrailRule, Mode, Standing
from commerce.ab_testing.statistics.frequentist import Verdict, pooled_p_value, pooled_z, welch
from commerce.ab_testing.statistics.ratio import Mismatch, judge, sample_ratio_mismatch
from commerce.ab_testing.statistics.samples import Sample, mean_of, proportion

SURE = 0.05
"""A change that chance makes more often than this is no finding."""
ERRORS = "error_rate"
REVENUE = "revenue_per_visitor"


def sample_of(metric: str, standing: Standing) -> Sample:
    """What a guardrail looks at: each visitor once, however often they bounced or met an error."""
    visitors = standing.visitors
    counted = {
        "conversion_rate": standing.purchasers,
        "bounce_rate": standing.bounce_visitors,
        "error_rate": standing.error_visitors,
        "add_to_cart_rate": standing.cart_visitors,
        "checkout_rate": standing.checkout_visitors,
    }
    if metric == REVENUE:
        return mean_of(visitors, standing.revenue_cents, standing.squares)
    if metric == "refund_rate":
        return proportion(standing.purchases, min(standing.refunded, standing.purchases))
    return proportion(visitors, min(counted[metric], visitors))


def evaluate(test: AbTest, standings: Sequence[Standing], rules: Sequence[GuardrailRule]) -> list[Finding]:
    """Every variant that is beyond a limit, surely so. Thresholds are changes relative to the control, but for the
    error rate: a control without errors is the usual one, and what is relative to nothing says nothing.
    """
    by_id = {standing.variant_id: standing for standing in standings}
    control = by_id[test.control.id]
    found = []
    for rule in rules:
        for standing in standings:
            if standing is control or min(standing.visitors, control.visitors) < LEAST_VISITORS:
                continue
            finding = _judge(test, rule, control, standing)
            if finding is not None:
                found.append(finding)
    return found


def _judge(test: AbTest, rule: GuardrailRule, control: Standing, variant: Standing) -> Finding | None:
    ours, theirs = sample_of(rule.metric, control), sample_of(rule.metric, variant)
    if rule.metric == ERRORS:
        change, p_value = theirs.mean - ours.mean, pooled_p_value(ours, theirs)
    else:
        verdict = _compare(rule.metric, ours, theirs)
        if verdict is None or ours.mean == 0:
            return None
        change, p_value = theirs.mean / ours.mean - 1, verdict.p_value
    beyond = change <= rule.threshold if rule.threshold < 0 else change >= rule.threshold
    if not beyond or p_value >= SURE:
        return None
    level = "warning" if rule.action == "warn" else "critical"
    return Finding(
        test.id,
        "guardrail",
        rule.metric,
        variant.variant_id,
        level,
        rule.action,
        ours.mean,
        theirs.mean,
        p_value,
    )


def _compare(metric: str, control: Sample, variant: Sample) -> Verdict | None:
    return welch(control, variant) if metric == REVENUE else pooled_z(control, variant)


def ratio_p_value(test: AbTest, standings: Sequence[Standing]) -> float:
    """How likely chance alone brings visitors as far from the weights; 1 where a bandit has moved the weights."""
    if test.mode is not Mode.MANUAL:
        return 1.0
    weights = {variant.id: variant.weight for variant in test.variants}
    return sample_ratio_mismatch(
        [standing.visitors for standing in standings],
        [weights[standing.variant_id] for standing in standings],
    )


def check_ratio(test: AbTest, standings: Sequence[Standing]) -> list[Finding]:
    """Whether visitors came by the weights: a warning, and where chance is out of the question a stop to look."""
    p_value = ratio_p_value(test, standings)
    verdict = judge(p_value)
    if verdict is Mismatch.NONE:
        return []
    first, weights = standings[0], {variant.id: variant.weight for variant in test.variants}
    visitors = sum(standing.visitors for standing in standings)
    whole = sum(weights[standing.variant_id] for standing in standings)
    expected = visitors * weights[first.variant_id] / max(1, whole)
    critical = verdict is Mismatch.CRITICAL
    return [
        Finding(
            test.id,
            "sample_ratio",
            "visitors",
            first.variant_id,
            "critical" if critical else "warning",
            "pause" if critical else "warn",
            expected,
            first.visitors,
            p_value,
        )
    ]
