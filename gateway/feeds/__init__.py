"""Sources of raw market data, all behind the contract of `base`."""
