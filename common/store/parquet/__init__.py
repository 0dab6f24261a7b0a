"""The event log as Parquet files, for duckdb, polars and pandas, with a write-ahead part that makes appends durable.

A batch is safe once it stands in the write-ahead part (`wal/`), as the wire's own bytes. A thread turns full parts into
`date=/exchange=/type=/symbol=` files of typed columns, one row a tick, sorted by time. `manifest.jsonl` lists what
counts: a file that it does not name is none of the store's, so a crash leaves no half of anything.

    store        the contract                      converter     the thread between batches and files
    workshop     what comes into the manifest      drafting      files before that, small ones here,
                                                   drafting_process  large ones in a process of their own
    wal          batches before they are columns   manifest      which files there are, chained
    shapes       equal messages as arrays          tables        messages to columns and back
    columns      the columns of a type             ticks         ticks and groups of them
    files        Parquet on disk                   snapshot      what a reader sees
    merge        in the order of time, or of ids   arrays        ticks as packed arrays
    compaction   few files from many               pruning       what may go
    recovery     what a crash or damage left       verification  whether it is whole
"""
