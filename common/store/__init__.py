"""The event log: every message in the order in which it was recorded, for audit, replay and backtest.

A `Store` (contract) is opened by its address, such as `jsonl:PATH`, `sqlite:PATH`, `parquet:PATH`. All formats keep the
same records, so one can be converted into any other without loss. `journal` is another word: what an executor must
remember to act once. A store decides nothing, so it may be behind, but never silently incomplete.

    record, selection        what is kept, and what is asked for       contract   what every format promises
    chain, anchors, walk     what shows tampering                      address    which format, from its URL
    retention                what may be removed                       times      as people type them
    memory                   for tests and for small things            asynchronous   the same contract, awaited
    replay/, projection      a range of it again, and state as of a record    times   as people write them
    json_messages            messages as readable JSON                 sealing, keyring   encryption at rest
    quarantine               where what is damaged is kept             writing    the only writer, room on the disk
    jsonl/ sqlite/ parquet/  the formats
"""
