"""Gateway: turns raw market data into ticks and broadcasts them.

In:    a feed (synthetic, recorded, store), snapshot requests (late joiners), replay commands (where it plays a store)
Out:   ticks, public trades, order books and bars on `market` (everyone), snapshots (who asked)
Owns:  the number and the last value of each topic.
Never: publishes a price that is not finite; waits to fill a batch; hides a line that it could not read;
       plays a store in a run that is not simulated.
"""
