"""The causal chain of one order out of its audit records: what happened, when and by whom. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Fields = Mapping[str, Any]


class Step(NamedTuple):
    """One link of a chain. `learned_ns`: when the executor knew, where somebody else did it."""

    timestamp_ns: int
    actor: str
    what: str
    detail: str
    learned_ns: int | None = None


class Record(NamedTuple):
    """An audit record, as far as a chain needs it."""

    seq: int
    timestamp_ns: int
    actor: str
    action: str
    body: Fields


def chain_of(records: Iterable[Record]) -> list[Step]:
    """The steps of one order, oldest first, each at the time of whoever took it.

    Clocks of several machines differ: a step may seem to lie before the one that caused it. It is shown as it is.
    """
    steps: list[Step] = []
    for record in records:
        signal = record.body.get("signal")
        if signal and record.action in {"intent", "denied"}:
            steps += _beginning(signal)
        steps.append(_step(record))
    return steps


def _beginning(signal: Fields) -> list[Step]:
    """The tick that a strategy acted on, and its decision."""
    steps = []
    strategy = f"strategy:{signal['strategy']}"
    tick_ns, price = signal.get("trigger_timestamp_ns"), signal.get("trigger_price")
    if tick_ns is not None:
        cause = signal.get("cause_id")
        steps.append(
            Step(
                tick_ns, str(cause).partition(":")[0] if cause else "gateway",
                "tick", _join(signal["symbol"], None if price is None else f"at {price:.12g}", cause),
            )
        )  # fmt: skip
    limit = signal.get("limit_price")
    steps.append(
        Step(
            signal["timestamp_ns"], strategy, "signal",
            _join(
                signal["signal_id"], signal["action"], signal["quantity"], signal["symbol"], signal["order_type"],
                None if limit is None else f"at {limit}", signal["time_in_force"],
            ),
        )
    )  # fmt: skip
    return steps


def _step(record: Record) -> Step:
    body = record.body
    report = body.get("report")
    if report:
        price = report.get("price")
        detail = _join(
            f"#{report['execution_number']}", report.get("side"), report.get("quantity"),
            None if price is None else f"at {price}", report.get("liquidity"),
            None if report.get("fee") is None else f"fee {report['fee']}",
            f"{report['leaves_quantity']} left", report.get("reason"),
        )  # fmt: skip
        return Step(report["timestamp_ns"], record.actor, record.action, detail, record.timestamp_ns)
    detail = _join(
        body.get("client_order_id"), body.get("venue_order_id"), body.get("status"), body.get("reason"),
        body.get("detail"), None if "limit_price" not in body else f"to {body['quantity']} at {body['limit_price']}",
    )  # fmt: skip
    return Step(record.timestamp_ns, record.actor, record.action, detail)


def _join(*parts: object) -> str:
    return " ".join(str(part) for part in parts if part not in {None, ""})
