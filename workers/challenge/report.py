"""The report of an attempt: one HTML page that needs nothing else, and the same as JSON. Pure."""

import html
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from common.clock import NS_PER_S
from common.events.evaluation import EvaluationStatus
from common.money import plain
from workers.challenge.attempt import Attempt
from workers.challenge.curve import Curve
from workers.challenge.terms import ChallengeTerms

WIDTH, HEIGHT, MARGIN = 860, 260, 8

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2430; max-width: 900px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; } p.sub { color: #5a6575; margin-top: .2rem; }
.passed { color: #11734b; } .failed { color: #b3261e; } .running { color: #1f5fbf; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; } td, th { padding: .3rem .6rem; text-align: right; }
th { font-weight: 600; border-bottom: 1px solid #c9d0da; } td:first-child, th:first-child { text-align: left; }
tr:nth-child(even) td { background: #f6f8fa; } svg { width: 100%; height: auto; background: #fbfcfd; }
@media (prefers-color-scheme: dark) { body { background: #14181f; color: #dde3ec; } p.sub { color: #98a3b3; }
svg, tr:nth-child(even) td { background: #1b212b; } th { border-color: #3a4454; } }
"""


def summary_of(attempt: Attempt, terms: ChallengeTerms) -> dict[str, Any]:
    """All figures of an attempt, ready for JSON; amounts are decimal strings."""
    phase = terms.phases[attempt.phase - 1]
    return {
        "challenge": terms.name,
        "attempt_id": terms.attempt_id,
        "user_id": terms.user_id,
        "currency": terms.currency,
        "status": attempt.status.value,
        "failed_by": attempt.failed_by,
        "phase": attempt.phase,
        "phases": len(terms.phases),
        "started_ns": attempt.started_ns,
        "ended_ns": attempt.ended_ns,
        "starting_balance": plain(terms.starting_balance),
        "equity": plain(attempt.equity),
        "profit": plain(attempt.profit(terms)),
        "phase_profit": plain(attempt.equity - attempt.phase_equity),
        "profit_target": plain(phase.profit_target),
        "worst_daily_loss": plain(attempt.worst_daily_loss),
        "daily_loss_max": plain(terms.daily_loss_max),
        "worst_total_loss": plain(max(terms.starting_balance - attempt.lowest_equity, Decimal(0))),
        "total_loss_max": plain(terms.total_loss_max),
        "trading_days": len(attempt.trading_days),
        "trading_days_min": phase.trading_days_min,
    }


def page_of(attempt: Attempt, terms: ChallengeTerms, curve: Curve) -> str:
    """The HTML page."""
    figures = summary_of(attempt, terms)
    unit = html.escape(terms.currency)
    verdict = _verdict(figures)
    rows = [
        ("Profit of the phase", f"{figures['phase_profit']} {unit}", f"at least {figures['profit_target']} {unit}"),
        ("Worst daily loss", f"{figures['worst_daily_loss']} {unit}", f"below {figures['daily_loss_max']} {unit}"),
        ("Worst total loss", f"{figures['worst_total_loss']} {unit}", f"below {figures['total_loss_max']} {unit}"),
        ("Trading days", str(figures["trading_days"]), f"at least {figures['trading_days_min']}"),
    ]
    table = "".join(f"<tr><td>{name}</td><td>{was}</td><td>{asked}</td></tr>" for name, was, asked in rows)
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(terms.name)}: {attempt.status}</title><style>{STYLE}</style>"
        f"<h1>{html.escape(terms.name)} <span class='{attempt.status}'>{attempt.status}</span></h1>"
        f"<p class='sub'>{html.escape(terms.attempt_id)} of {html.escape(terms.user_id)}, phase {attempt.phase} of "
        f"{len(terms.phases)}, {_time(attempt.started_ns)} to "
        f"{_time(attempt.ended_ns or (curve.times_ns[-1] if curve.times_ns else attempt.started_ns))} UTC</p>"
        f"<p>{html.escape(verdict)}</p>{_picture(curve, terms)}"
        f"<table><tr><th>Rule</th><th>Was</th><th>Asked for</th></tr>{table}</table></html>"
    )


def _verdict(figures: dict[str, Any]) -> str:
    ending = f"Equity {figures['equity']} {figures['currency']}, {figures['profit']} since the start."
    match figures["status"]:
        case EvaluationStatus.PASSED:
            return f"Every phase was passed. {ending}"
        case EvaluationStatus.FAILED:
            return f"Failed by {figures['failed_by']}. {ending}"
        case _:
            return f"Still running. {ending}"


def _picture(curve: Curve, terms: ChallengeTerms) -> str:
    """Equity over time, with the balance it began with and the line of the total loss where that is in sight."""
    if len(curve.times_ns) < 2:
        return ""
    floor = terms.starting_balance - terms.total_loss_max
    low, high = min(*curve.values, terms.starting_balance), max(*curve.values, terms.starting_balance)
    low = min(low, floor) if low - floor < (high - low) else low
    span = (high - low) or Decimal(1)
    first_ns, whole_ns = curve.times_ns[0], max(curve.times_ns[-1] - curve.times_ns[0], 1)

    def y(amount: Decimal) -> str:
        return f"{MARGIN + float((high - amount) / span) * (HEIGHT - 2 * MARGIN):.1f}"

    points = " ".join(
        f"{(time_ns - first_ns) / whole_ns * WIDTH:.1f},{y(amount)}"
        for time_ns, amount in zip(curve.times_ns, curve.values, strict=True)
    )
    lines = [(terms.starting_balance, "#8a94a3", "start"), (floor, "#b3261e", "total loss")]
    marks = "".join(
        f"<line x1='0' x2='{WIDTH}' y1='{y(amount)}' y2='{y(amount)}' stroke='{colour}' stroke-dasharray='4 4'/>"
        f"<text x='4' y='{float(y(amount)) - 4:.1f}' font-size='11' fill='{colour}'>{label} {plain(amount)}</text>"
        for amount, colour, label in lines
        if low <= amount <= high
    )
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='Equity over time'>{marks}"
        f"<polyline points='{points}' fill='none' stroke='#1f5fbf' stroke-width='1.6'/></svg>"
    )


def _time(timestamp_ns: int) -> str:
    return f"{datetime.fromtimestamp(timestamp_ns // NS_PER_S, tz=UTC):%Y-%m-%d %H:%M:%S}"
