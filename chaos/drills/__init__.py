"""The layer of real processes: they are killed, stopped, cut off and refused, and their books are compared."""
