"""Adds the golden bytes of message types that have none yet. Existing entries are never touched.

Run as `PYTHONPATH=tests python tests/golden/write_missing.py` after adding a type or a version, then read the diff.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
from support.message_samples import sample_message

from common.events.base import Message
from common.events.registry import MESSAGE_TYPES, type_name
from common.wire import codec

PATH = Path(__file__).with_name("messages.json")


def main() -> None:
    """Read what is there, add what is not, write it back."""
    entries: dict[str, Any] = json.loads(PATH.read_text()) if PATH.is_file() else {}
    for message_type in MESSAGE_TYPES:
        entry = entries.setdefault(type_name(message_type), {})
        for variant, is_full in (("full", True), ("least", False)):
            if variant not in entry:
                entry[variant] = golden_of(sample_message(message_type, is_full=is_full))
    PATH.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")


def golden_of(message: Message) -> dict[str, Any]:
    """Topic, body in hex, and the body as JSON, where bytes are base64."""
    topic, body = codec.split(codec.encode(message))
    return {"topic": topic.decode(), "body": body.hex(), "json": json.loads(msgspec.json.encode(message))}


if __name__ == "__main__":
    main()
