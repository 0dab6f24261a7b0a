"""Workers: hosts whatever reacts to events off the hot path, and keeps it going.

In:    market and events (gateway, executor; by ZeroMQ), histories (files of the run directory), the calendar
Out:   what workers publish (everyone, on `workers`), commands of theirs (executor, on `control`)
Owns:  read models, audit, challenges and dead letters of the run directory.
Never: is waited for by the order path; applies a fact of a history twice.
"""
