"""Chaos: seeded histories full of faults, and the invariants that must hold through all of them.

In:    seeds and scenarios from the command line
Out:   a table of what was injected, lost, duplicated and unresolved, and the command that repeats each failure
Owns:  a virtual clock, network and disk; nothing of a run on this machine is touched
Never: changes what a process decides: only ports, time and bytes are ours; the deciding code is the real one

`processes/` holds the one small adapter to each process: what its service does, on virtual sockets and files.
"""
