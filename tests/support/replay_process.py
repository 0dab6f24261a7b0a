"""`tickpulse` with the format `small` beside the others, as a process; a terminal on its stdin becomes its own.

Run as `python -m support.replay_process COMMAND ...` with this folder's parent on the path.
"""

import fcntl
import os
import sys
import termios

from common.cli import main
from common.store import address

SMALL = {"small": ("support.replay_builders", None)}


def run() -> None:
    """Take the terminal, add the format, be tickpulse."""
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    address.FORMATS = {**address.FORMATS, **SMALL}
    main(args=sys.argv[1:], prog_name="tickpulse")


if __name__ == "__main__":
    run()
