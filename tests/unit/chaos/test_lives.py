"""A process that stands still: what comes meanwhile waits, and is there when it goes on."""

from collections.abc import Sequence

from chaos.facts import Facts, Size
from chaos.lives import Lives
from chaos.machine import Machine
from chaos.schedule import Schedule
from common.clock import NS_PER_MS, VirtualClock
from common.instruments import InstrumentTable


class Recorder:
    """A life that notes what it is told."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.turns = 0

    def receive(self, _channel: str, frame: bytes) -> None:
        self.frames.append(frame)

    def turn(self) -> None:
        self.turns += 1

    def sizes(self) -> Sequence[Size]:
        return ()

    def die(self) -> None:
        """Nothing to lose."""


def make_lives(schedule: Schedule, facts: Facts, made: list[Recorder]) -> Lives:
    """A process whose lives are recorders."""

    def make_machine(name: str, epoch: int) -> Machine:
        return Machine(
            name=name,
            epoch=epoch,
            clock=schedule.clock,
            instruments=InstrumentTable([]),
            send=lambda _channel, _frame: None,
            pass_point=lambda _name: None,
            facts=facts,
        )

    def make_node(_machine: Machine) -> Recorder:
        made.append(Recorder())
        return made[-1]

    return Lives("process", schedule, facts, make_machine, make_node)


def test_paused_process_finds_what_came_meanwhile() -> None:
    """As after SIGSTOP and SIGCONT: no turn, no frame, then all of them in order."""
    schedule, made = Schedule(VirtualClock()), list[Recorder]()
    lives = make_lives(schedule, Facts((), reference_age_ns_max=0), made)
    lives.start()
    lives.pause(20)
    lives.receive("x", b"1")
    lives.receive("x", b"2")
    began_ns = schedule.clock.now_ns()

    while schedule.clock.now_ns() < began_ns + 19 * NS_PER_MS and not made[0].frames:
        assert made[0].turns == 0
        schedule.step()
    lives.resume()

    assert made[0].frames == [b"1", b"2"]


def test_killed_process_forgets_what_came_while_it_stood_still() -> None:
    """Its sockets died with it."""
    schedule, made = Schedule(VirtualClock()), list[Recorder]()
    lives = make_lives(schedule, Facts((), reference_age_ns_max=0), made)
    lives.start()
    lives.pause(20)
    lives.receive("x", b"1")

    lives.kill(5)
    while len(made) < 2:
        schedule.step()
    lives.receive("x", b"2")

    assert [life.frames for life in made] == [[], [b"2"]]
