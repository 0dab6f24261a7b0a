"""`tickpulse` as a process whose terminal on stdin becomes its own, as in a shell.

Run as `python -m support.replay_process COMMAND ...` with this folder's parent on the path.
"""

import fcntl
import os
import sys
import termios

from common.cli import main


def run() -> None:
    """Take the terminal, be tickpulse."""
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    main(args=sys.argv[1:], prog_name="tickpulse")


if __name__ == "__main__":
    run()
