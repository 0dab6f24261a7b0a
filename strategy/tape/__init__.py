"""The tape of one life of a strategy: what its engine was given, in which order and when, and what it decided.

The event log has the messages but not their order as this process saw them, nor the times of its calls. With both, the
same engine can be built again and its decisions compared, byte for byte. Market messages are on the tape by number
only; what is rare is there whole.
"""
