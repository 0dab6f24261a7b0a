"""Gateway: turns raw market data into ticks and broadcasts them.

In:    a feed (synthetic, recorded), snapshot requests (late joiners)
Out:   ticks, public trades, order books and bars on `market` (everyone), snapshots (who asked)
Owns:  the number and the last value of each topic.
Never: publishes a price that is not finite; waits to fill a batch; hides a line that it could not read.
"""
