"""Does the commit protocol hold under every fault that a store and its clients can have?

The real `commit_unit` and `collect` run against a store in memory. A seed decides in which order
two to five drivers take their steps, and which request meets which fault: crashes, lost, late and
repeated requests, a log and listings that lag, full disks, sleepers, garbage collected at any time.
After every step the invariants are checked against what is true. A seed that fails prints its steps
and the command that runs it again.

    python -m benchmarks.simulation --json [--schedules N] [--seed S]
"""
