"""Exchange: places orders at a venue, each at most once, and tells what became of them.

In:    submit, replace, cancel, queries (executor); ticks and trades (gateway), which the simulated venue fills against
Out:   one answer for each request; numbered execution reports (everyone); alarms on telemetry and in its log
Owns:  the ledger: every order, its first answer and every execution, durable before anyone hears of it.
Never: makes a second order for a client_order_id; reuses or skips an execution number; obeys an executor that was
       succeeded by a newer life of it, or places more orders than it says to have intended.
"""
