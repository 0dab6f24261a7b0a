"""Strategy: hosts one strategy, turns ticks into signals, and keeps sending a signal until its end is known.

In:    ticks and trades (gateway), acknowledgements, order and position events (executor)
Out:   signals, cancels and amendments (executor)
Owns:  the outbox: instructions whose end is not known yet, and the strategy's state after them; both on disk. The tape
       of its life, by which the same code decides again.
Never: hands a stale tick to the strategy; gives one decision two ids; hides a failing callback.
"""
