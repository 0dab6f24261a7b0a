"""Executor: turns signals into orders, each at most once, and keeps the truth about them.

In:    signals, cancels (strategies)   order answers, executions (exchange)   quotes (gateway), as price reference
Out:   orders, cancels, queries (exchange)   acknowledgements, order and position events (everyone)
Owns:  the journal; open orders and positions, rebuilt from it and from the exchange at start.
Never: sends a second order for a signal; sends before the intent is durable; treats a timeout as a refusal.
"""
