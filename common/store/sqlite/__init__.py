"""The event log as one SQLite file: `SELECT * FROM events` is all that a reader needs to know.

schema         the table, its indexes, and how older versions become this one
store          the writer, and what opens a file       reading   rows to records, page by page
checking       verify and repair                       pruning   what is old
"""
