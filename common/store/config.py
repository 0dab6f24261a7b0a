"""How a store is told where it is and how it keeps what it is given."""

from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(gt=0)]


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all formats have in common; `[store]` of the config."""

    anchors: str = ""  # folder of the anchors; empty: beside the store, PATH.anchors. Better where only root writes
    anchor_key_file: str = ""  # signs the anchors: a file of 16 bytes or more that who may change the log cannot read
    key_ring: str = ""  # seals what is written: a file made by `tickpulse store keys new`; empty: nothing is sealed
    segment_bytes_max: Positive = 256 << 20  # then a new file begins: large enough to be few, small enough to copy
    clear_of_disk_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0  # keep so much of the disk free for others
