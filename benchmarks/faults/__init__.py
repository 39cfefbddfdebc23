"""Is anything lost, doubled or let in when the machine fails or the input is hostile?

Workers and drivers are killed, drivers race, commits crash at every system call that writes, disks
fill up and fail, bytes rot, strangers send what they can. After every fault the tables are held
against those of a run that nobody disturbed, row by row. Each family of faults is a file here; each
failure is a sentence with the seed that shows it again.

    python -m benchmarks.faults --json [--short] [--only NAME] [--seed S]
"""
