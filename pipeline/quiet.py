"""Environment of every process of a job: one thread a worker, nothing phones home or downloads."""

QUIET_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYANNOTE_METRICS_ENABLED": "0",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime reports to its maker
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # an error is raised once, and not printed beside it
    "DO_NOT_TRACK": "1",
}
ONE_THREAD = {
    # One core is one worker: libraries that start a thread per core would fight each other.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
RAY_ENVIRONMENT = {
    # What a worker started goes when the worker does, however it ends.
    "RAY_process_group_cleanup_enabled": "true",
    # A job of weeks must not fill the disk with Ray's own logs: 5 files of 64 MB a process.
    "RAY_ROTATION_MAX_BYTES": str(64 << 20),
    "RAY_ROTATION_BACKUP_COUNT": "5",
}
"""Of a Ray that we start. Retries need none: we start actors that are never restarted by Ray."""
WORKER_ENVIRONMENT = QUIET_ENVIRONMENT | ONE_THREAD
