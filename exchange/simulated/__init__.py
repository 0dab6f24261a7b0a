"""A venue in memory that fills orders against the market stream.

Pure: it takes requests, market messages and a time, and returns answers and execution reports.
"""
