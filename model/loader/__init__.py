"""Shards in, batches out: one global plan, exact resume. README.md says how."""

from model.loader.batch import Batch, Document, PackedSequence
from model.loader.codes_sample import CodesSample, document_numbers, stack_codes
from model.loader.loader import Loader
from model.loader.loader_spec import LoaderSource, LoaderSpec
from model.loader.sample import Sample
from model.loader.shard import GroupRows
from model.loader.view import SequenceView

__all__ = [
    "Batch",
    "CodesSample",
    "Document",
    "GroupRows",
    "Loader",
    "LoaderSource",
    "LoaderSpec",
    "PackedSequence",
    "Sample",
    "SequenceView",
    "document_numbers",
    "stack_codes",
]
