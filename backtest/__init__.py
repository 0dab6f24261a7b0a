"""Backtest: the deciding code of all processes in one thread, on a virtual clock, fed from a store.

In:    a store's ticks and trades, a strategy with its parameters, the config of a live run
Out:   fills, equity, statistics; a table, JSON, one HTML file; and a hash over every decision, order and fill
Owns:  nothing that outlives it; memory does not grow with the range, but for compact rows of fills and samples
Never: lets a decision meet a market older than its latency; opens a socket; gives two results for one input.

    source, tape      the market, from stores and arrays, and how far each reader of it is
    pipeline, market  the event loop; what venue and executor see of the market
    agenda        what is due next, and how long messages are under way      keeping   journals that forget what ended
    recording         fills, round trips and samples      performance, result   what they amount to
    sweep, comparing, live   many parameters over processes; a live session beside its backtest
    report, plots, tables    one HTML file; what a terminal shows      planning, command   options and config
"""
