"""Raw updates to ticks: checks every value, merges trades into the tick, numbers and encodes. The gateway's hot path.

Pure but for the two things it is handed: a clock reading per group of updates, and the writers that send.
"""

import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from common.bars import BarBuilder, Interval
from common.errors import ConfigError
from common.events.base import DRAFT
from common.events.market import (
    AMOUNT_MAX,
    LEVELS_PER_SIDE_MAX,
    TICK_DTYPE,
    Bar,
    BookDelta,
    BookSnapshot,
    LastValue,
    Quote,
    Tick,
    Ticks,
    Trade,
)
from common.instruments import Instrument
from common.wire.codec import encode_body
from common.wire.publisher import Publisher
from gateway.feeds.base import (
    DepthSnapshot,
    DepthUpdate,
    Levels,
    QuoteBatch,
    QuoteUpdate,
    TickUpdate,
    TradeUpdate,
    Update,
)

# One record of TICK_DTYPE. Packing it so takes 0.2 µs; numpy takes 1 µs for a row of Python values.
_pack_record = struct.Struct("<3q6d").pack
_ABSENT = float("nan")
OTHER_TYPES = (Trade, BookSnapshot, BookDelta, Bar)  # what an instrument has beside ticks


class _Line:
    """One instrument: its newest state and the writers of its topics."""

    __slots__ = (
        "ask",
        "ask_size",
        "bars",
        "bid",
        "bid_size",
        "exchange_ns",
        "last",
        "local_ns",
        "other_topics",
        "raw_symbol",
        "sampled_seq",
        "symbol",
        "tick_writer",
        "timestamp_ns",
        "volume",
        "waiting",
    )

    def __init__(self, instrument: Instrument, publisher: Publisher, intervals: Sequence[Interval]) -> None:
        self.symbol = instrument.symbol
        self.raw_symbol = instrument.raw_symbol
        self.tick_writer = publisher.writer(f"{Tick.kind}.{instrument.name}")
        self.other_topics = [f"{message_type.kind}.{instrument.name}" for message_type in OTHER_TYPES]
        self.bars = [
            BarBuilder(interval, exchange=instrument.exchange, symbol=instrument.symbol) for interval in intervals
        ]
        self.bid: float | None = None
        self.ask: float | None = None
        self.bid_size: float | None = None
        self.ask_size: float | None = None
        self.last: float | None = None
        self.volume: float | None = None
        self.exchange_ns: int | None = None
        self.local_ns = 0
        self.timestamp_ns = 0
        self.sampled_seq = 0
        # Packed ticks of the group in hand that will leave as one message.
        self.waiting: list[bytes] = []


class Normaliser:
    """Turns the updates of one exchange into messages."""

    def __init__(
        self,
        exchange: str,
        instruments: Sequence[Instrument],
        publisher: Publisher,
        *,
        batch_ticks_max: int,
        bars: Sequence[Interval] = (),
    ) -> None:
        """Prepare a line for each instrument.

        Args:
            exchange: Name of the exchange in topics.
            instruments: Those of this exchange.
            publisher: Sends.
            batch_ticks_max: Ticks in one message at most; 1 sends each on its own.
            bars: Of which intervals bars are made of the trades of each instrument.

        Raises:
            ConfigError: There is no instrument of this exchange.
        """
        if not instruments:
            raise ConfigError(f"instruments: expected at least one of exchange {exchange!r}; add it to the table")
        self.counts: Counter[str] = Counter()
        self.ticks_published = 0
        # Set by the first tick of an instrument: who decides by quotes should not wait for the next round of them.
        self.has_new_instrument = False
        self._exchange = exchange
        self._publisher = publisher
        self._source = publisher.source
        self._epoch = publisher.epoch
        self._lines = {instrument.raw_symbol: _Line(instrument, publisher, bars) for instrument in instruments}
        self._batch_ticks_max = batch_ticks_max

    def publish(self, updates: Sequence[Update], now_ns: int) -> None:
        """Send what was read together: as one message per instrument where several ticks of it wait."""
        is_packed = self._batch_ticks_max > 1 and len(updates) > 1
        emit = self._pack if is_packed else self._send_tick
        lines = self._lines
        for update in updates:
            line = lines.get(update.raw_symbol)
            if line is None:
                self.counts["updates_unlisted"] += 1
                continue
            if isinstance(update, QuoteUpdate):
                bid, ask, bid_size, ask_size = update.bid, update.ask, update.bid_size, update.ask_size
                # Accepts what is inside the range: NaN is in none.
                if not (
                    0 <= bid <= AMOUNT_MAX
                    and 0 <= ask <= AMOUNT_MAX
                    and 0 <= bid_size <= AMOUNT_MAX
                    and 0 <= ask_size <= AMOUNT_MAX
                ):
                    self.counts["updates_refused"] += 1
                    continue
                line.bid, line.ask, line.bid_size, line.ask_size = bid, ask, bid_size, ask_size
            elif isinstance(update, TickUpdate):
                self._take_tick(line, update, now_ns)
            elif not isinstance(update, TradeUpdate):
                self._take_depth(line, update, now_ns)
                continue
            elif not self._take_trade(line, update, now_ns):
                self.counts["updates_refused"] += 1
                continue
            line.local_ns = update.local_timestamp_ns
            line.exchange_ns = update.exchange_timestamp_ns
            line.timestamp_ns = now_ns
            emit(line)
        if is_packed:
            for line in lines.values():
                self._send_waiting(line)

    def publish_batch(self, batch: QuoteBatch, now_ns: int) -> None:
        """Send quotes of one instrument that come as an array: checked, completed and packed without a Python loop."""
        line = self._lines.get(batch.raw_symbol)
        records = batch.records
        if line is None:
            self.counts["updates_unlisted"] += len(records)
            return
        amounts = records.view("<f8").reshape(-1, TICK_DTYPE.itemsize // 8)[:, 3:7]
        is_good = ((amounts >= 0) & (amounts <= AMOUNT_MAX)).all(axis=1)
        if not is_good.all():
            self.counts["updates_refused"] += int(len(records) - is_good.sum())
            records = records[is_good]
        records["timestamp_ns"] = now_ns
        records["last"] = _ABSENT if line.last is None else line.last
        records["volume"] = _ABSENT if line.volume is None else line.volume
        if self._batch_ticks_max == 1:
            self._send_each(line, records)
        else:
            for start in range(0, len(records), self._batch_ticks_max):
                chunk = records[start : start + self._batch_ticks_max]
                self._send_records(line, chunk.tobytes(), len(chunk), now_ns)
        if len(records):
            self._keep_newest(line, records[-1], now_ns)

    def sample(self, *, is_refresh: bool) -> None:
        """Publish the newest prices of every instrument that has changed; at a refresh, of every one that has any."""
        self.has_new_instrument = False
        for line in self._lines.values():
            seq = line.tick_writer.seq
            if seq and (is_refresh or seq != line.sampled_seq):
                line.sampled_seq = seq
                self._publisher.publish(
                    Quote(
                        **DRAFT,
                        timestamp_ns=line.timestamp_ns,
                        exchange=self._exchange,
                        symbol=line.symbol,
                        bid=line.bid,
                        ask=line.ask,
                        last=line.last,
                    )
                )

    def publish_bars(self, now_ns: int, *, is_refresh: bool) -> None:
        """Publish the bars whose interval is over; at a refresh, those that form, too."""
        for line in self._lines.values():
            for builder in line.bars:
                self._send_bar(builder.advance(now_ns))
                if is_refresh:
                    self._send_bar(builder.forming())

    def snapshot(self) -> list[LastValue]:
        """The newest state of every topic that was written to."""
        values = []
        for line in self._lines.values():
            writer = line.tick_writer
            if writer.seq:
                values.append(LastValue(writer.topic, self._epoch, writer.seq, self._tick(line, writer.seq)))
            others = map(self._publisher.writer, line.other_topics)
            values += [LastValue(other.topic, self._epoch, other.seq) for other in others if other.seq]
        return values

    def _take_trade(self, line: _Line, update: TradeUpdate, now_ns: int) -> bool:
        if not (0 <= update.price <= AMOUNT_MAX and 0 <= update.quantity <= AMOUNT_MAX):
            return False
        line.last, line.volume = update.price, update.quantity
        self._publisher.publish(
            Trade(
                **DRAFT,
                timestamp_ns=now_ns,
                exchange=self._exchange,
                symbol=line.symbol,
                raw_symbol=line.raw_symbol,
                local_timestamp_ns=update.local_timestamp_ns,
                price=update.price,
                quantity=update.quantity,
                aggressor_side=update.aggressor_side,
                trade_id=update.trade_id,
                exchange_timestamp_ns=update.exchange_timestamp_ns,
            )
        )
        self.counts["trades_published"] += 1
        for builder in line.bars:
            self._send_bar(builder.add(now_ns, update.price, update.quantity))
        return True

    def _take_tick(self, line: _Line, update: TickUpdate, now_ns: int) -> None:
        if update.trade is not None:
            self._take_trade(line, update.trade, now_ns)
        line.bid, line.ask, line.bid_size, line.ask_size = update.bid, update.ask, update.bid_size, update.ask_size
        line.last, line.volume = update.last, update.volume

    def _send_bar(self, bar: Bar | None) -> None:
        if bar is not None:
            self._publisher.publish(bar)
            self.counts["bars_published"] += 1

    def _take_depth(self, line: _Line, update: DepthUpdate | DepthSnapshot, now_ns: int) -> None:
        if not (_are_fit(update.bids) and _are_fit(update.asks)):
            self.counts["updates_refused"] += 1
            return
        common: dict[str, Any] = {
            **DRAFT,
            "timestamp_ns": now_ns,
            "exchange": self._exchange,
            "symbol": line.symbol,
            "raw_symbol": line.raw_symbol,
            "local_timestamp_ns": update.local_timestamp_ns,
            "bids": update.bids,
            "asks": update.asks,
            "exchange_timestamp_ns": update.exchange_timestamp_ns,
        }
        if isinstance(update, DepthSnapshot):
            self._publisher.publish(BookSnapshot(update_id=update.update_id, **common))
        else:
            self._publisher.publish(
                BookDelta(first_update_id=update.first_update_id, last_update_id=update.last_update_id, **common)
            )
        self.counts["books_published"] += 1

    def _send_tick(self, line: _Line) -> None:
        writer = line.tick_writer
        if not writer.seq:
            self.has_new_instrument = True
        writer.write(self._tick(line, writer.seq + 1))
        self.ticks_published += 1

    def _tick(self, line: _Line, seq: int) -> Tick:
        """The newest state of an instrument, under a number."""
        return Tick(
            self._source,
            self._epoch,
            seq,
            line.timestamp_ns,
            self._exchange,
            line.symbol,
            line.raw_symbol,
            line.local_ns,
            line.bid,
            line.ask,
            line.bid_size,
            line.ask_size,
            line.last,
            line.volume,
            line.exchange_ns,
        )

    def _pack(self, line: _Line) -> None:
        line.waiting.append(
            _pack_record(
                line.timestamp_ns,
                line.local_ns,
                line.exchange_ns or 0,
                _ABSENT if line.bid is None else line.bid,
                _ABSENT if line.ask is None else line.ask,
                _ABSENT if line.bid_size is None else line.bid_size,
                _ABSENT if line.ask_size is None else line.ask_size,
                _ABSENT if line.last is None else line.last,
                _ABSENT if line.volume is None else line.volume,
            )
        )
        if len(line.waiting) >= self._batch_ticks_max:
            self._send_waiting(line)

    def _send_waiting(self, line: _Line) -> None:
        count = len(line.waiting)
        if count == 1:
            self._send_tick(line)
        elif count:
            self._send_records(line, b"".join(line.waiting), count, line.timestamp_ns)
        line.waiting.clear()

    def _send_records(self, line: _Line, records: bytes, count: int, now_ns: int) -> None:
        writer = line.tick_writer
        if not writer.seq:
            self.has_new_instrument = True
        message = Ticks(
            self._source,
            self._epoch,
            writer.seq + count,
            now_ns,
            self._exchange,
            line.symbol,
            line.raw_symbol,
            count,
            records,
        )
        writer.write(message, count)
        self.ticks_published += count
        self.counts["batches_published"] += 1

    def _send_each(self, line: _Line, records: npt.NDArray[np.void]) -> None:
        """Send an array as single ticks: 1.1 µs each, where one update object each costs 1.5 µs."""
        writer = line.tick_writer
        self.has_new_instrument |= not writer.seq
        source, epoch, exchange, symbol, raw_symbol = (
            self._source,
            self._epoch,
            self._exchange,
            line.symbol,
            line.raw_symbol,
        )
        send, prefix, seq, last, volume = writer.send, writer.prefix, writer.seq, line.last, line.volume
        for now_ns, local_ns, exchange_ns, bid, ask, bid_size, ask_size, _, _ in records.tolist():
            seq += 1
            tick = Tick(
                source,
                epoch,
                seq,
                now_ns,
                exchange,
                symbol,
                raw_symbol,
                local_ns,
                bid,
                ask,
                bid_size,
                ask_size,
                last,
                volume,
                exchange_ns or None,
            )
            # `TopicWriter.write` written out.
            send(prefix + encode_body(tick))
        writer.seq = seq
        self.ticks_published += len(records)

    def _keep_newest(self, line: _Line, record: np.void, now_ns: int) -> None:
        line.bid, line.ask = float(record["bid"]), float(record["ask"])
        line.bid_size, line.ask_size = float(record["bid_size"]), float(record["ask_size"])
        line.local_ns = int(record["local_timestamp_ns"])
        line.exchange_ns = int(record["exchange_timestamp_ns"]) or None
        line.timestamp_ns = now_ns


def _are_fit(levels: Levels) -> bool:
    return len(levels) <= LEVELS_PER_SIDE_MAX and all(
        0 <= price <= AMOUNT_MAX and 0 <= size <= AMOUNT_MAX for price, size in levels
    )
