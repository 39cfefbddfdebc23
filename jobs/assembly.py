"""A spec file to a job that is known to run, and the cluster it would run on."""

from pathlib import Path

from jobs.spec_kinds import refuse_other_kind
from jobs.tokenizers import check_tokenizer
from pipeline.assemble import Job, assemble
from pipeline.fit import Cluster, needs_of, this_machine
from pipeline.spec_file import load_job
from schemas.errors import AudiomillError, SpecError
from schemas.job import JobSpec


def assemble_spec(path: Path, overrides: list[str]) -> Job:
    """The assembled job; raises one line about the file for whatever does not fit."""
    try:
        spec = load_job(path, overrides)
    except SpecError:
        refuse_other_kind(path, JobSpec)
        raise
    try:
        job = assemble(spec)
        if spec.tokenize:
            check_tokenizer(spec.tokenize)
    except AudiomillError as error:
        raise type(error)(f"{path}: {error}") from error
    return job


def cluster_of(job: Job, address: str | None) -> Cluster:
    """This machine, or the cluster at `address`."""
    if address is None:
        return this_machine(wants_gpu="gpu" in needs_of(job))
    import ray

    from pipeline.ray_cluster import connect

    try:
        return connect(job, address)
    finally:
        ray.shutdown()
