"""The gate that every signal passes: the checks that are on, and what they look at."""

from decimal import Decimal

from common.clock import NS_PER_MS
from common.events.risk import TradingState
from common.events.trading import Signal
from common.instruments import InstrumentTable, Listed
from executor.config import ExecutorConfig
from executor.exposure import Exposure, InstrumentKey
from executor.limit_checks import make_checks
from executor.limits import RiskLimits
from executor.orders import Order
from executor.risk import CHECKS, Case, Check, FindReference, Reason, Refusal, find_refusal


class RiskGate:
    """Finds the reason to deny a signal. Its limits can be replaced at any time."""

    def __init__(self, config: ExecutorConfig, instruments: InstrumentTable, find_reference: FindReference) -> None:
        """Build the checks of the limits that the config has.

        Raises:
            ConfigError: A limit is of a symbol that is not in the table.
        """
        self._config = config
        self._instruments = instruments
        self._find_reference = find_reference
        self.set_limits(config.risk)

    def set_limits(self, limits: RiskLimits) -> None:
        """Take other limits.

        Raises:
            ConfigError: A limit is of a symbol that is not in the table; the limits stay as they were.
        """
        for name in limits.symbols:
            # A limit of a misspelt symbol would limit nothing.
            self._instruments.named(name)
        own = {name: CHECKS + make_checks(limits, name, self._instruments) for name in limits.strategies}
        # A name that no table can have: what holds for a strategy without one.
        self._checks: tuple[Check, ...] = CHECKS + make_checks(limits, "", self._instruments)
        self._checks_of: dict[str, tuple[Check, ...]] = own
        self._has_limits = limits != RiskLimits()
        self.limits = limits

    def find_refusal(
        self,
        signal: Signal,
        exposure: Exposure,
        *,
        waiting_count: int,
        now_ns: int,
        trading_state: TradingState = TradingState.ACTIVE,
        replaced: Order | None = None,
    ) -> Refusal | None:
        """The first reason to deny a signal, or other terms of a working order; None when it may go out."""
        instrument = self._instruments.find(signal)
        if instrument is None:
            return Refusal(Reason.UNKNOWN_INSTRUMENT, f"{signal.exchange}.{signal.symbol} is not in the table")
        reference, mark = self._find_reference(signal), None
        checks = self._checks_of.get(signal.strategy, self._checks)
        if self._has_limits:
            mark = None if reference is None else reference.mark()
            if exposure.unmarked:
                self.mark_all(exposure, now_ns)
        return find_refusal(
            Case(
                signal=signal,
                key=InstrumentKey(signal.exchange, signal.symbol),
                instrument=instrument,
                reference=reference,
                mark=mark,
                exposure=exposure,
                waiting_count=waiting_count,
                waiting_count_max=self._config.orders_waiting_max,
                reference_age_ns_max=self._config.reference_age_ms_max * NS_PER_MS,
                now_ns=now_ns,
                trading_state=trading_state,
                replaced=replaced,
            ),
            checks,
        )

    def mark_all(self, exposure: Exposure, now_ns: int) -> None:
        """Value everything at stake at what the market shows now; to be done a few times a second."""
        exposure.mark_all(self._find_mark, now_ns)

    def _find_mark(self, listed: Listed) -> Decimal | None:
        reference = self._find_reference(listed)
        return None if reference is None else reference.mark()
