"""`tickpulse backtest`, also `python -m backtest`."""

from backtest.command import backtest

if __name__ == "__main__":
    backtest()
