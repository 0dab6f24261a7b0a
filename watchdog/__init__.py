"""Watchdog: finds processes that hang or crash again and again, and lets supervisord start them anew or pause them.

In:    beats (everyone, files of the run directory), process events (supervisord, on stdin)
Out:   kills, stops and starts (supervisord, by XML-RPC), alarms on telemetry and in its log
Owns:  which program pauses; whatever else it knows it asks for again at its start.
Never: ends a process that supervisord does not run; touches the order path.
"""
