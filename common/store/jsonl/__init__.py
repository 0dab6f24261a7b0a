"""The event log as JSON Lines: append-only files that `jq`, `grep` and `tail -f` read.

    lines    a record as a line, and back     index      where in a segment what lies     segments   reading them
    writer   appending, rotation, torn tails  checking   verify and repair                pruning    what is old
    store    the contract                          sealing    messages that only who has the key reads

A store is a folder of segments, `00000001.jsonl` and on. Each begins with a header line and goes on with one line a
record. `00000001.index` beside it is derived from it, and is built anew where it is missing or does not fit.
"""
