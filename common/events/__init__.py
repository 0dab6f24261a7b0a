"""Everything that travels on the wire, typed: one module per domain, all listed in `registry` and in EVENTS.md.

An event says what happened, a command asks for something that may be refused, a query asks what is, a reply answers
one of the two.
"""
