"""Results of the benchmarks of orders and of the kill switch, as text for people."""

from benchmarks.halt import HaltReport
from benchmarks.orders import OrdersAtRate, OrdersReport
from benchmarks.tables import bystanders_line, check_lines, latency_header, latency_row, row, shown, verdict_line

HALT_NAMES = {
    "to_executor": "the executor has read it",
    "to_last_order": "last order at the exchange",
    "to_last_cancel": "last cancel at the exchange",
    "to_quiet": "the later of these two",
    "to_answer": "the person has the answer",
}


def format_orders(report: OrdersReport) -> str:
    """Each rate with its pace, latencies and processes; the counts, the verdict."""
    return "\n".join(
        [
            (
                f"orders: {report.duration_s:g} s after {report.warm_up_s:g} s of warm-up; "
                "journal, ledger, outbox and every risk limit on"
            ),
            *report.machine.lines(),
            bystanders_line(report.foreign_cores),
            *(line for each in report.rates for line in _rate_lines(each)),
            "",
            *check_lines(each.checks for each in report.rates),
            "",
            *map(verdict_line, report.verdicts),
        ]
    )


def format_halt(report: HaltReport) -> str:
    """The hops of a halt, the counts, the verdict."""
    plan = report.plan
    return "\n".join(
        [
            (
                f"halt: {plan.rounds} halts under {plan.rate:,.0f} signals/s, "
                f"{report.working_count / plan.rounds:.1f} orders working on average"
            ),
            *report.machine.lines(),
            bystanders_line(report.foreign_cores),
            "",
            latency_header("from the person's command, µs, until"),
            *(latency_row(HALT_NAMES[name], report.hops[name]) for name in HALT_NAMES),
            "",
            *check_lines([report.checks]),
            "",
            *map(verdict_line, report.verdicts),
        ]
    )


def _rate_lines(each: OrdersAtRate) -> list[str]:
    pace = each.pace
    return [
        "",
        row(f"{each.rate:,.0f} signals/s", ["orders/s", "worst s", "backlog", "refused", "held back"]),
        row(
            "accepted by the exchange",
            [
                f"{pace.per_s:,.1f}",
                shown(pace.per_s_min, "", 0),
                f"{pace.backlog:,}",
                f"{each.refused_count:,}",
                f"{each.unsent_count:,}",
            ],
        ),
        latency_header("µs"),
        latency_row("signal emitted to order accepted", each.from_emitted),
        latency_row("signal due to order accepted", each.from_due),
        row("cores", ["main thread", "all threads", "µs/order", "full at/s"]),
        *(
            row(
                name,
                [
                    f"{load.share.main_thread:.0%}",
                    f"{load.share.threads:.0%}",
                    shown(load.us_per_order, "", 0),
                    shown(load.full_at_per_s, "", 0),
                ],
            )
            for name, load in each.processes.items()
        ),
    ]
