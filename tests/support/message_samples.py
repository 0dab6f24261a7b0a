"""A sample of every message type, from which its golden bytes were once made."""

from common.events.examples import make_example as sample_message
from common.events.glossary import RECORDS

__all__ = ["RECORDS", "sample_message"]
