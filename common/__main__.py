"""`python -m common` is `tickpulse`, for where the installed script is not on the path."""

from common.cli import main

if __name__ == "__main__":
    main(prog_name="tickpulse")
