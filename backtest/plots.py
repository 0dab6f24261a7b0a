"""The plots of a report: plotly figures as HTML fragments, without the library itself."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.io import to_html
from plotly.subplots import make_subplots

from backtest.performance import Curve, prices_of
from backtest.recording import Recording
from backtest.sweep import Combination

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
BLUE, GREEN, RED, AMBER = "#2563eb", "#15803d", "#dc2626", "#b45309"
MARKS_MAX = 300  # of each side in one plot; more hide the price
LAYOUT: dict[str, Any] = {
    "template": "plotly_white",
    "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
    "margin": {"l": 70, "r": 24, "t": 36, "b": 36},
    "hovermode": "x unified",
    "legend": {"orientation": "h", "y": 1.1, "x": 0, "xanchor": "left"},
    "plot_bgcolor": "white",
}


def draw_equity(curve: Curve, currency: str) -> str:
    """Equity above, drawdown below."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.06)
    times = _moments(curve.times)
    figure.add_trace(
        go.Scatter(x=times, y=curve.equity, name="equity", line={"color": BLUE, "width": 1.8}, showlegend=False), 1, 1
    )
    figure.add_hline(y=float(curve.equity[0]), line={"color": MUTED, "width": 1, "dash": "dot"}, row=1, col=1)
    figure.add_trace(
        go.Scatter(
            x=times,
            y=100 * curve.drawdown,
            name="drawdown",
            fill="tozeroy",
            line={"color": RED, "width": 1},
            fillcolor="rgba(220, 38, 38, 0.15)",
            showlegend=False,
        ),
        2,
        1,
    )
    figure.update_yaxes(title_text=f"equity, {currency}", tickformat=",", row=1, col=1)
    figure.update_yaxes(title_text="drawdown, %", rangemode="tozero", row=2, col=1)
    return _fragment(figure, 460)


def draw_exposure(curve: Curve, currency: str) -> str:
    """Net and gross value of positions."""
    figure = go.Figure()
    times = _moments(curve.times)
    line = {"width": 1.2, "shape": "hv"}
    if not np.allclose(curve.gross, np.abs(curve.net)):
        figure.add_trace(go.Scatter(x=times, y=curve.gross, name="gross", line={**line, "color": AMBER}))
    figure.add_trace(
        go.Scatter(
            x=times,
            y=curve.net,
            name="net",
            fill="tozeroy",
            fillcolor="rgba(37, 99, 235, 0.12)",
            line={**line, "color": BLUE},
        )
    )
    figure.update_yaxes(title_text=f"value held, {currency}", tickformat=",", rangemode="tozero")
    return _fragment(figure, 280)


def draw_prices(recording: Recording) -> list[tuple[str, str]]:
    """For each instrument that was traded, its name, and its mid price with the fills."""
    fills = recording.fills()
    times = _moments(np.array(recording.sample_times, dtype=np.int64))
    drawn = []
    for number, instrument in enumerate(recording.instruments):
        own = fills[fills["instrument"] == number]
        if not len(own):
            continue
        figure = go.Figure()
        mids = recording.mids(instrument.name)
        figure.add_trace(go.Scatter(x=times, y=mids, name="mid", line={"color": MUTED, "width": 1.2}))
        shown_count = 0
        for side, name, symbol, color in ((1, "buy", "triangle-up", GREEN), (-1, "sell", "triangle-down", RED)):
            of_side = own[own["side"] == side]
            of_side = of_side[:: max(1, math.ceil(len(of_side) / MARKS_MAX))]
            shown_count += len(of_side)
            figure.add_trace(
                go.Scatter(
                    x=_moments(of_side["time_ns"]),
                    y=prices_of(of_side, instrument),
                    mode="markers",
                    name=name,
                    marker={"symbol": symbol, "size": 8, "color": color, "line": {"width": 0.5, "color": "white"}},
                )
            )
        figure.update_yaxes(title_text="price", tickformat=",")
        note = "" if shown_count == len(own) else f", {shown_count:,} of {len(own):,} fills marked"
        drawn.append((f"{instrument.name}{note}", _fragment(figure, 400)))
    return drawn


def draw_sweep(combinations: Sequence[Combination], by: str) -> str:
    """Two parameters as a heat map; one as a line; more than two by the best of the others."""
    names = list(combinations[0].parameters)[:2]
    values = {
        name: sorted({each.parameters[name] for each in combinations}, key=lambda value: (str(type(value)), value))
        for name in names
    }
    best: dict[tuple[Any, ...], float] = {}
    for each in combinations:
        value = math.nan if each.result is None else float(getattr(each.result.statistics, by))
        place = tuple(each.parameters[name] for name in names)
        if not value <= best.get(place, -math.inf):
            best[place] = value
    if len(names) == 1:
        axis = values[names[0]]
        figure = go.Figure(go.Scatter(x=axis, y=[best.get((each,)) for each in axis], mode="lines+markers"))
        figure.update_traces(line={"color": BLUE})
        figure.update_xaxes(title_text=names[0])
        figure.update_yaxes(title_text=by)
        return _fragment(figure, 380)
    columns, rows = values[names[0]], values[names[1]]
    cells = [[best.get((column, row)) for column in columns] for row in rows]
    figure = go.Figure(
        go.Heatmap(
            x=[str(each) for each in columns],
            y=[str(each) for each in rows],
            z=cells,
            colorscale="RdYlGn",
            colorbar={"title": by},
            texttemplate="%{z:.4g}" if len(columns) * len(rows) <= 150 else None,
        )
    )
    figure.update_xaxes(title_text=names[0], type="category")
    figure.update_yaxes(title_text=names[1], type="category")
    figure.update_layout(hovermode="closest")
    return _fragment(figure, 480)


def _fragment(figure: Any, height: int) -> str:
    hovermode = figure.layout.hovermode
    figure.update_layout(**LAYOUT, height=height)
    if hovermode is not None:
        figure.update_layout(hovermode=hovermode)
    figure.update_xaxes(gridcolor=GRID, zeroline=False)
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    text: str = to_html(
        figure, include_plotlyjs=False, full_html=False, config={"displaylogo": False, "responsive": True}
    )
    return text


def _moments(times: npt.NDArray[np.int64]) -> npt.NDArray[np.datetime64]:
    return times.astype("datetime64[ns]")
