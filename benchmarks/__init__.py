"""Benchmarks: the pipeline beside the bare-socket floor, measured in the same run.

In:    a rate or a count from the command line
Out:   tables, and on request a JSON file and a plot; every number beside its floor and its target
Owns:  a temporary directory for each run and the processes in it; both are gone when it ends, however it ends.
Never: keeps a schedule waiting for a slow receiver; reports a speed whose counts do not add up as good.

One file per topology: `floor_order_path` and `pipeline_order_path`, `floor_broadcast` and `pipeline_broadcast`. The
floors import zmq themselves: they are what can be reached without us. `rules` measures one library in one process; it
has no floor.
"""
