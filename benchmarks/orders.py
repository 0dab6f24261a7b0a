"""Signals to acknowledged orders at a steady rate: whether the pipeline keeps up, and who would be full first."""

from collections.abc import Callable, Sequence

import msgspec

from benchmarks import pipeline_orders
from benchmarks.bystanders import Bystanders
from benchmarks.machine import Machine, describe_machine
from benchmarks.order_times import Pace
from benchmarks.pipeline_orders import OrdersRun
from benchmarks.processor_time import ProcessorTime
from benchmarks.results import Check, Distribution, Target, Verdict, describe, give_verdict
from benchmarks.schedule import OrderPathPlan
from common.clock import NS_PER_S, NS_PER_US

# What was accepted within the window, % of what was due in it. Not 100: the last are under way when it ends.
SHARE_TARGET = Target(must=99.5, aim=99.9)
US_PER_S = NS_PER_S / NS_PER_US


class ProcessLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What a process did for the orders."""

    share: ProcessorTime  # of a core
    us_per_order: float | None  # of its main thread
    full_at_per_s: float | None  # orders/s at which its main thread would have no time left, if each costs the same


class OrdersAtRate(msgspec.Struct, frozen=True, kw_only=True):
    """One rate."""

    rate: float  # signals/s
    pace: Pace
    share_percent: float  # accepted within the window, of what was due in it
    accepted_count: int
    refused_count: int
    unsent_count: int
    from_due: Distribution
    from_emitted: Distribution
    processes: dict[str, ProcessLoad]
    checks: list[Check]


class OrdersReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole benchmark; what `--json` writes."""

    benchmark: str = "orders"
    machine: Machine
    foreign_cores: float | None  # that others kept busy meanwhile
    duration_s: float
    warm_up_s: float
    rates: list[OrdersAtRate]
    verdicts: list[Verdict]

    @property
    def is_sound(self) -> bool:
        """Tell whether all counts add up."""
        return all(check.is_met for each in self.rates for check in each.checks)


def make_plan(rate: float, duration_s: float, warm_up_s: float) -> OrderPathPlan:
    """A signal for each tick."""
    return OrderPathPlan(rate=rate, duration_s=duration_s, warm_up_s=warm_up_s, signal_every=1)


def run(plans: Sequence[OrderPathPlan], tell: Callable[[str], object]) -> OrdersReport:
    """Measure one rate after the other; `tell` hears what is going on."""
    machine = describe_machine()
    measured = []
    with Bystanders() as bystanders:
        for plan in plans:
            tell(f"{plan.rate:,.0f} signals/s")
            measured.append((plan, pipeline_orders.measure(plan)))
    return make_report(machine, measured, bystanders.cores)


def make_report(
    machine: Machine, measured: Sequence[tuple[OrderPathPlan, OrdersRun]], foreign_cores: float | None
) -> OrdersReport:
    """Put all rates together."""
    rates = [_at_rate(plan, run) for plan, run in measured]
    return OrdersReport(
        machine=machine,
        foreign_cores=foreign_cores,
        duration_s=measured[0][0].duration_s,
        warm_up_s=measured[0][0].warm_up_s,
        rates=rates,
        verdicts=[
            give_verdict(f"orders of {each.rate:,.0f} signals/s, %", each.share_percent, SHARE_TARGET, [])
            for each in rates
        ],
    )


def _at_rate(plan: OrderPathPlan, run: OrdersRun) -> OrdersAtRate:
    return OrdersAtRate(
        rate=plan.rate,
        pace=run.pace,
        share_percent=round(100 * run.pace.per_s / plan.rate, 2),
        accepted_count=run.accepted_count,
        refused_count=run.refused_count,
        unsent_count=run.unsent_count,
        from_due=describe(run.from_due),
        from_emitted=describe(run.from_emitted),
        processes={name: _load(run, share) for name, share in run.shares.items()},
        checks=run.checks,
    )


def _load(run: OrdersRun, share: ProcessorTime) -> ProcessLoad:
    used_us = share.main_thread * run.elapsed_s * US_PER_S
    per_order = used_us / run.accepted_count if run.accepted_count and used_us else None
    return ProcessLoad(
        share=share,
        us_per_order=None if per_order is None else round(per_order, 1),
        full_at_per_s=None if per_order is None else round(US_PER_S / per_order),
    )
