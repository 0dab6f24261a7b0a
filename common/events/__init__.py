"""Everything that travels on the wire, typed: one module per domain, all listed in `registry`.

An event says what happened, a command asks for something that may be refused, a reply answers one command.
"""
