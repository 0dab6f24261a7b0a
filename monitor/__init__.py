"""Monitor: shows a running pipeline, and runs the demo around it.

In:    process reports on telemetry (everyone), events (executor), status files of the run directory
Out:   a live panel, a summary
Owns:  nothing that the pipeline needs: it may come, go and crash at any time.
Never: touches the order path; states a count that no process or ledger reported.
"""
