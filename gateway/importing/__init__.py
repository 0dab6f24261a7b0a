"""Importing: foreign market data into a store, as the events that this gateway would have sent.

mapping, rows    which column is what, and what a row says     tables    rows of CSV and Parquet
captures         raw Binance lines                             importer  numbers events, hands them to the store
book_check       the rebuilt book beside the venue's own best prices
"""
