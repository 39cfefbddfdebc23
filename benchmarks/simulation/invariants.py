"""What must hold after every step, looked up in what is true and in what processes see."""

from benchmarks.simulation.drivers import FINAL_TABLES, Attempt, Job
from benchmarks.simulation.simulated_store import Entry, Truth, View, ViolationError
from pipeline.commit import Outcome


class Invariants:
    """Remembers what was true, for some things may never change."""

    def __init__(self, job: Job, truth: Truth) -> None:
        self._job = job
        self._truth = truth
        self._log: list[Entry] = []
        self._units: set[str] = set()
        self._epoch = 0
        self._sha_by_name: dict[str, str] = {}
        self._done: dict[str, set[str]] = {table: set() for table in ("sketches", *FINAL_TABLES)}
        self._seen: dict[View, int] = {}

    def check(self, view: View) -> None:
        """Raises `ViolationError` for the first that does not hold, in truth or in `view`."""
        log = self._truth.log
        known = len(self._log)
        if len(log) < known or any(log[i] is not self._log[i] for i in range(known)):
            raise ViolationError("an entry was changed or taken back")
        for entry in log[known:]:
            self._check_entry(entry)
            self._log.append(entry)
        for name, sha256 in self._sha_by_name.items():
            rows = self._truth.files.get(name)
            if rows is None:
                raise ViolationError(f"{name} is committed and was deleted")
            if rows.sha256 != sha256:
                raise ViolationError(f"{name} is committed and was overwritten")
        self._check_view(view)

    def check_outcome(self, attempt: Attempt, outcome: Outcome) -> None:
        """What `commit_unit` answers is true."""
        entries = [entry for entry in self._truth.log if entry.unit == attempt.unit]
        if outcome is Outcome.FENCED:
            if self._truth.log[-1].epoch <= attempt.epoch:
                raise ViolationError(f"{attempt.unit} was fenced in its own epoch")
        elif not entries:
            raise ViolationError(f"{attempt.unit} is said to be {outcome.value}, and is not")
        elif outcome is Outcome.COMMITTED and entries[0].files != attempt.files:
            raise ViolationError(f"{attempt.unit} was committed, with files of another attempt")

    def check_finished(self) -> None:
        """A driver sees nothing pending: then nothing is."""
        if missing := self._job.inputs - self._done[FINAL_TABLES[0]]:
            raise ViolationError(f"{', '.join(sorted(missing))} is pending, and a driver ended")

    def check_end(self) -> None:
        """Faults are over, all drivers have ended, and garbage has been collected."""
        self.check_finished()
        if garbage := self._truth.files.keys() - self._sha_by_name.keys():
            raise ViolationError(f"{', '.join(sorted(garbage))} outlived the collection")

    def _check_entry(self, entry: Entry) -> None:
        if entry.unit in self._units:
            raise ViolationError(f"{entry.unit} is committed twice")
        if entry.epoch < self._epoch:
            raise ViolationError(f"the epoch goes back from {self._epoch} to {entry.epoch}")
        self._units.add(entry.unit)
        self._epoch = entry.epoch
        rows_by_table: dict[str, set[str]] = {table: set() for table in self._done}
        for file in entry.files:
            rows = self._truth.files.get(file.name)
            if rows is None or rows.sha256 != file.sha256:
                raise ViolationError(f"{file.name} is committed and is not there")
            self._sha_by_name[file.name] = file.sha256
            rows_by_table[rows.table].update(rows.inputs)
        if len({frozenset(rows_by_table[table]) for table in FINAL_TABLES}) > 1:
            raise ViolationError(f"rows of {entry.unit} appear in some tables only")
        for table, inputs in rows_by_table.items():
            if twice := inputs & self._done[table]:
                raise ViolationError(f"{', '.join(sorted(twice))} has two rows in {table}")
            if phantom := inputs - self._job.inputs:
                raise ViolationError(f"{', '.join(sorted(phantom))} is no input")
            self._done[table] |= inputs

    def _check_view(self, view: View) -> None:
        before = self._seen.get(view, -1)
        if view.seen == before:
            return
        if view.seen < before:
            raise ViolationError("a process sees less of the log than before")
        self._seen[view] = view.seen
        rows_by_table: dict[str, list[str]] = {table: [] for table in self._done}
        for file in view.committed_files():
            if file.name not in self._sha_by_name:
                raise ViolationError(f"{file.name} is seen, and no entry names it")
            rows = self._truth.files[file.name]
            assert rows is not None
            rows_by_table[rows.table] += rows.inputs
        first, *others = (sorted(rows_by_table[table]) for table in FINAL_TABLES)
        if any(rows != first for rows in others):
            raise ViolationError("a process sees a part of an entry")
