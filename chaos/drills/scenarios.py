"""Every scenario of the drills: what is done, to which pipeline, and how often of forty times."""

import enum

import msgspec

from chaos.drills import disk_faults, faults
from chaos.drills.faults import Fault


class Setting(enum.Enum):
    """The pipeline that a fault needs."""

    PLAIN = enum.auto()
    LOSSY_DISK = enum.auto()  # on a disk that can lose its power
    JOURNAL_CUT = enum.auto()  # whose journal cannot agree with the ledger any more
    RECORDED = enum.auto()  # with a recorder, which alone is killed; only when it is asked for by name
    SUPERVISED = enum.auto()  # of supervisord.conf; only kills, of each process in turn


class Drill(msgspec.Struct, frozen=True):
    """One scenario."""

    inject: Fault
    turns: int  # of forty faults so many are of this kind
    setting: Setting = Setting.PLAIN


DRILLS: dict[str, Drill] = {
    "crash_points": Drill(faults.crash_point, 13),  # the most, because they are many
    "kill": Drill(faults.kill, 4),
    "kill_everybody": Drill(faults.kill_everybody, 1),
    "pause": Drill(faults.pause, 2),
    "network": Drill(faults.network, 4),
    "full_disk": Drill(faults.full_disk, 2),
    "torn_tail": Drill(faults.torn_tail, 2),
    "outbox_cut": Drill(disk_faults.outbox_cut, 2),
    "power_loss": Drill(disk_faults.power_loss, 4, Setting.LOSSY_DISK),
    "failing_sync": Drill(disk_faults.failing_sync, 2, Setting.LOSSY_DISK),
    "failing_write": Drill(disk_faults.failing_write, 1, Setting.LOSSY_DISK),
    "journal_cut": Drill(disk_faults.journal_cut, 1, Setting.JOURNAL_CUT),
    "recorder": Drill(faults.kill, 0, Setting.RECORDED),
    "demo": Drill(faults.kill, 2, Setting.SUPERVISED),
}
TURNS = tuple(name for name, drill in DRILLS.items() for _ in range(drill.turns))
