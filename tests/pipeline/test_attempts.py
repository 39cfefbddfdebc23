"""The ledger of attempts: who is blamed for what, over runs that end in every way."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.attempts import Attempts, Ledger, is_alive, this_machine_since_its_start
from schemas.errors import StorageError

K = 2
ROOT = Path(__file__).resolve().parents[2]


class Drivers:
    """Drivers of one output, one after another, each killed by the next."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.num = 0
        self.now: Ledger | None = None

    def next(self, machine: str = "one", settings: str = "s") -> Ledger:
        self.kill()
        self.num += 1
        self.now = Ledger(self.out, f"driver{self.num}", settings, machine)
        self.now.open()
        return self.now

    def kill(self) -> None:
        """What the system does to a ledger when its process is killed."""
        if self.now is not None and self.now._descriptor >= 0:
            os.close(self.now._descriptor)


@pytest.fixture
def drivers(tmp_path: Path) -> Drivers:
    return Drivers(tmp_path)


def test_strikes_are_on_disk_at_once_and_survive_the_driver(drivers: Drivers) -> None:
    first = drivers.next()
    first.starts({"a": False, "b": False})
    first.strike("a", "CRASH", "Segmentation fault", "quality")
    first.ended("b")
    second = drivers.next()
    assert second.of("a") == Attempts(
        strikes=1, error_class="CRASH", cause="Segmentation fault", stage="quality"
    )
    assert second.of("b") == Attempts()
    assert not second.of("a").is_given_up(K)
    second.starts({"a": False})
    second.strike("a", "TIMEOUT", "too long", "quality")
    assert drivers.next().of("a").is_given_up(K)


def test_a_unit_that_came_back_has_a_clean_slate(drivers: Drivers) -> None:
    ledger = drivers.next()
    ledger.starts({"a": False})
    ledger.strike("a", "CRASH", "killed", "vad")
    ledger.starts({"a": False})
    ledger.ended("a")
    assert ledger.of("a") == drivers.next().of("a") == Attempts()


def test_no_unit_is_blamed_for_any_number_of_killed_drivers(drivers: Drivers) -> None:
    draw = random.Random(7)
    for _ in range(60):
        ledger = drivers.next()
        units = [f"u{n}" for n in draw.sample(range(6), 3)]
        ledger.starts(dict.fromkeys(units, draw.random() < 0.5))
        for unit in draw.sample(units, draw.randint(0, 2)):
            ledger.ended(unit)
    last = drivers.next()
    assert all(last.of(f"u{n}") == Attempts() for n in range(6))


def test_a_unit_that_takes_its_machine_down_is_suspected_then_tried_alone_then_given_up(
    drivers: Drivers,
) -> None:
    starts = 0
    while True:
        ledger = drivers.next(machine=f"start {starts}")
        known = ledger.of("killer")
        if known.is_given_up(K):
            break
        alone = known.is_suspect(K)
        ledger.starts({"killer": True} if alone else {"killer": False, "innocent": False})
        starts += 1
    assert starts == 2 * K
    assert known.cause == "its machine went down"
    # Under way at as many ends as make a suspect, but never alone: not blamed for any of them.
    assert ledger.of("innocent").is_suspect(K)
    assert not ledger.of("innocent").is_given_up(K)


def test_an_orderly_end_is_held_against_nobody_even_if_the_machine_goes_then(
    drivers: Drivers,
) -> None:
    ledger = drivers.next(machine="one")
    ledger.starts({"a": True})
    ledger.close()
    assert drivers.next(machine="two").of("a") == Attempts()


def test_where_the_system_does_not_name_its_start_no_end_of_a_driver_counts(
    drivers: Drivers,
) -> None:
    drivers.next(machine="").starts({"a": True})
    assert drivers.next(machine="two").of("a") == Attempts()


def test_want_of_memory_is_a_strike_only_against_a_unit_that_was_alone(drivers: Drivers) -> None:
    ledger = drivers.next()
    ledger.starts({"eater": False, "neighbour": False})
    for unit in ("eater", "neighbour"):
        ledger.strike(unit, "OOM_ITEM", "no memory", "")
        assert ledger.of(unit).is_suspect(K)
        assert not ledger.of(unit).is_given_up(1)
    ledger.starts({"eater": True})
    ledger.strike("eater", "OOM_ITEM", "no memory", "")
    assert ledger.of("eater").is_given_up(1)


def test_strikes_are_forgotten_when_the_limits_change_or_the_fault_was_ours(
    drivers: Drivers,
) -> None:
    ledger = drivers.next()
    ledger.starts({"a": False, "b": False})
    ledger.strike("a", "TIMEOUT", "too long", "asr")
    assert drivers.next().of("a").strikes == 1
    ledger = drivers.next(settings="longer")
    assert ledger.of("a") == Attempts()
    ledger.starts({"b": False})
    ledger.strike("b", "CRASH", "no cuda", "asr")
    ledger.forgive()
    assert drivers.next(settings="longer").of("b") == Attempts()


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_torn_last_line_is_left_out_and_the_rest_is_kept(drivers: Drivers, cut: int) -> None:
    ledger = drivers.next()
    ledger.starts({"a": False})
    ledger.strike("a", "CRASH", "killed", "vad")
    ledger.starts({"b": False})
    ledger.path.write_bytes(ledger.path.read_bytes()[:-cut])
    again = drivers.next(machine="two")
    assert again.of("a").strikes == 1
    assert again.of("b").losses == (cut == 1)  # the whole line, but for its end


def test_the_ledger_of_a_living_driver_is_left_to_it(tmp_path: Path) -> None:
    living, other = (Ledger(tmp_path, name, "s", name) for name in ("living", "other"))
    living.open()
    living.starts({"a": True})
    assert other.open() == []
    assert other.of("a") == Attempts()
    assert is_alive(tmp_path, "living")
    living.ended("a")
    living.close()
    assert not is_alive(tmp_path, "living")


def test_what_was_taken_over_is_not_counted_twice(drivers: Drivers) -> None:
    first = drivers.next()
    first.strike("a", "CRASH", "killed", "vad")
    left = first.path.read_bytes()
    drivers.next()
    first.path.write_bytes(left)  # as if the second had been killed before it removed it
    third = drivers.next()
    assert third.of("a").strikes == 1
    assert [path.stem for path in (drivers.out / "attempts").iterdir()] == ["driver3"]


def test_a_lock_goes_with_a_killed_process_and_what_it_wrote_stays(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from pipeline.attempts import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]), 'killed', 's', 'one')\n"
        "ledger.open()\n"
        "ledger.starts({'a': True})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == -9
    after = Ledger(tmp_path, "after", "s", "two")
    assert after.open() == ["killed"]
    assert after.of("a").losses_alone == 1


def test_a_disk_that_fails_is_named_and_nobody_is_blamed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="make room or mend the disk"):
        Ledger(tmp_path / "file" / "out", "driver", "s").open()


def test_this_machine_is_named_the_same_twice() -> None:
    assert this_machine_since_its_start() == this_machine_since_its_start() != ""
