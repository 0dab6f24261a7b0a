"""Recorder: writes whatever the pipeline says into the event log, and what it missed.

In:    all channels that broadcast (gateway, exchange, executor, workers; on `records` everyone), the executor's history
Out:   the event log, gaps that it finds (telemetry, and into the log itself)
Owns:  the event log of a run, and where each stream stood in it (`state/recorder.standing`).
Never: is needed for trading; makes a publisher wait for a disk; loses a number without a record of it.
"""
