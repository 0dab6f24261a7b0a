"""The report of an attempt: one HTML page that needs nothing else, and the same as JSON. Pure."""

import html
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from common.clock import NS_PER_DAY, NS_PER_S
from common.events.evaluation import EvaluationStatus
from common.money import ZERO, plain
from workers.challenge.attempt import Attempt
from workers.challenge.curve import Curve
from workers.challenge.picture import Limit, draw
from workers.challenge.terms import ChallengeTerms

STYLE = """
:root { --ink: #1d2430; --soft: #5f6b7c; --line: #dfe4ea; --card: #f7f9fb; --blue: #2563c9; --green: #12794f;
  --red: #c02b20; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe5ee; --soft: #93a0b3; --line: #303947; --card: #1a202a;
  --blue: #6ea4f7; --green: #4fc08d; --red: #f07f74; } body { background: #12161d; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 900px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } .pill { font-size: .85rem; font-weight: 600; border: 1px solid currentColor;
  border-radius: 1rem; padding: .1rem .7rem; margin-left: .5rem; vertical-align: middle; }
p.sub { color: var(--soft); margin: .3rem 0 1.2rem; } .passed, .kept { color: var(--green); }
.failed, .broken { color: var(--red); } .running, .open { color: var(--blue); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.cards div { background: var(--card); border-radius: .5rem; padding: .7rem .9rem; }
.cards small { display: block; color: var(--soft); }
.cards b { font-size: 1.15rem; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; font-size: 12px; } .grid { stroke: var(--line); } .axis { fill: var(--soft); }
.curve { fill: none; stroke: var(--blue); stroke-width: 1.8; stroke-linejoin: round; } .end { fill: var(--blue); }
.limit { stroke-width: 1.3; stroke-dasharray: 6 4; } .limit.start { stroke: var(--soft); }
.name.start { fill: var(--soft); }
.limit.loss { stroke: var(--red); } .name.loss { fill: var(--red); } .limit.target { stroke: var(--green); }
.name.target { fill: var(--green); } table { border-collapse: collapse; width: 100%; margin: 1.2rem 0; }
td, th { padding: .45rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); } td:first-child, th:first-child { text-align: left; }
td { font-variant-numeric: tabular-nums; } td:last-child { font-weight: 600; }
meter { width: 7rem; }
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
        "worst_total_loss": plain(max(terms.starting_balance - attempt.lowest_equity, ZERO)),
        "total_loss_max": plain(terms.total_loss_max),
        "trading_days": len(attempt.trading_days),
        "trading_days_min": phase.trading_days_min,
    }


def page_of(attempt: Attempt, terms: ChallengeTerms, curve: Curve) -> str:
    """The HTML page."""
    figures = summary_of(attempt, terms)
    name, status = html.escape(terms.name), attempt.status.value
    last_ns = attempt.ended_ns or (curve.times_ns[-1] if curve.times_ns else attempt.started_ns)
    cards = {
        "Equity": f"{figures['equity']} {terms.currency}",
        "Profit": f"{figures['profit']} {terms.currency}",
        "Phase": f"{attempt.phase} of {len(terms.phases)}",
        "Lasted": _duration(last_ns - attempt.started_ns),
    }
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{name}: {status}</title><style>{STYLE}</style>"
        f"<h1>{name}<span class='pill {status}'>{status}</span></h1>"
        f"<p class='sub'>{html.escape(terms.attempt_id)} of {html.escape(terms.user_id)}, "
        f"{_time(attempt.started_ns)} to {_time(last_ns)} UTC</p><p>{html.escape(_verdict(figures))}</p>"
        f"<div class='cards'>{''.join(_card(title, text) for title, text in cards.items())}</div>"
        f"{draw(curve, _limits(attempt, terms))}{_table(attempt, terms)}</html>"
    )


def _verdict(figures: dict[str, Any]) -> str:
    match figures["status"]:
        case EvaluationStatus.PASSED:
            return "Every phase was passed, and no rule was broken."
        case EvaluationStatus.FAILED:
            return f"Failed by {figures['failed_by']}."
        case _:
            return "Still running."


def _card(title: str, text: str) -> str:
    return f"<div><small>{title}</small><b>{html.escape(text)}</b></div>"


def _limits(attempt: Attempt, terms: ChallengeTerms) -> list[Limit]:
    """The levels that decide, as they are now."""
    target = attempt.phase_equity + terms.phases[attempt.phase - 1].profit_target
    return [
        Limit("start", "start", terms.starting_balance, attempt.started_ns),
        Limit("target", "target", target, attempt.phase_started_ns),
        Limit("daily loss", "loss", attempt.day_equity - terms.daily_loss_max, attempt.day * NS_PER_DAY),
        Limit("total loss", "loss", terms.starting_balance - terms.total_loss_max, attempt.started_ns),
    ]


def _table(attempt: Attempt, terms: ChallengeTerms) -> str:
    """Each rule, how far it was used, and whether it was kept."""
    phase = terms.phases[attempt.phase - 1]
    total_loss = max(terms.starting_balance - attempt.lowest_equity, ZERO)
    days = Decimal(len(attempt.trading_days))
    rows = [
        _goal("Profit of the phase", attempt.equity - attempt.phase_equity, phase.profit_target, terms.currency),
        _goal("Trading days", days, Decimal(phase.trading_days_min), ""),
        _bound("Worst daily loss", attempt.worst_daily_loss, terms.daily_loss_max, terms.currency),
        _bound("Worst total loss", total_loss, terms.total_loss_max, terms.currency),
    ]
    return f"<table><tr><th>Rule</th><th>Was</th><th>Asked for</th><th></th><th></th></tr>{''.join(rows)}</table>"


def _goal(name: str, was: Decimal, least: Decimal, unit: str) -> str:
    is_met = was >= least
    return _row(name, was, f"at least {plain(least)}", unit, _share(was, least), "kept" if is_met else "open",
                "reached" if is_met else "not reached")  # fmt: skip


def _bound(name: str, was: Decimal, limit: Decimal, unit: str) -> str:
    is_kept = was < limit
    return _row(name, was, f"below {plain(limit)}", unit, _share(was, limit), "kept" if is_kept else "broken",
                "kept" if is_kept else "broken")  # fmt: skip


def _row(name: str, was: Decimal, asked: str, unit: str, share: float, kind: str, text: str) -> str:
    return (
        f"<tr><td>{name}</td><td>{plain(was)} {unit}</td><td>{asked} {unit}</td>"
        f"<td><meter value='{share:.3f}' max='1'></meter></td><td class='{kind}'>{text}</td></tr>"
    )


def _share(was: Decimal, whole: Decimal) -> float:
    return min(max(float(was / whole), 0.0), 1.0) if whole else 1.0


def _duration(duration_ns: int) -> str:
    days, seconds = divmod(duration_ns // NS_PER_S, 86_400)
    clock = f"{seconds // 3_600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{days} d {clock}" if days else clock


def _time(timestamp_ns: int) -> str:
    return f"{datetime.fromtimestamp(timestamp_ns // NS_PER_S, tz=UTC):%Y-%m-%d %H:%M:%S}"
