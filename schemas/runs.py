"""Table `runs`: one row per `audiomill run`, with what ran, how long, on what and at what cost."""

import pyarrow as pa

from schemas.column import Column, Table

STAGE_SECONDS = pa.list_(
    pa.struct(
        [
            pa.field("stage", pa.string()),
            pa.field("engine", pa.string()),
            pa.field("items", pa.int64()),
            pa.field("compute_s", pa.float64()),
        ]
    )
)

RUNS = Table(
    name="runs",
    doc="One row per run of the job on this output, whether it finished or was interrupted.",
    version=1,
    key=("run_id",),
    columns=(
        Column("run_id", pa.string(), "digest of job, start time and process", False),
        Column("started_at", pa.timestamp("us", "UTC"), "when it started", False),
        Column("ended_at", pa.timestamp("us", "UTC"), "when it ended", False),
        Column("ending", pa.string(), "finished, interrupted or failed", False),
        Column(
            "job_fingerprint", pa.string(), "digest of the resolved spec and engine versions", False
        ),
        Column("spec", pa.string(), "the resolved spec as JSON", False),
        Column("versions", pa.map_(pa.string(), pa.string()), "package to version", False),
        Column("workers", pa.int32(), "actors over all stations", False),
        Column("workers_replaced", pa.int32(), "workers that died or hung", False),
        Column("workers_recycled", pa.int32(), "workers replaced because they had grown", False),
        Column("cpus", pa.float64(), "CPUs of the cluster", False),
        Column("gpus", pa.float64(), "GPUs of the cluster", False),
        Column("wall_s", pa.float64(), "seconds from start to end", False),
        Column("inputs", pa.int64(), "inputs processed by this run", False),
        Column("hours", pa.float64(), "hours of audio decoded by this run", False),
        Column("stages", STAGE_SECONDS, "items and compute seconds per stage", False),
        Column("cost", pa.float64(), "core hours and GPU hours at the spec's prices", False),
        Column("currency", pa.string(), "currency of cost", False),
    ),
)
