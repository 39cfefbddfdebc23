"""Digests of the code that makes rows, so that a job is not finished by other code than began it.

What counts is found by following names: from where rows, units, ids and codes are made, through
every definition that is used there, in whichever of our rooms it stands (see `code_parts.py`).
Comments, docstrings and layout do not count. Versions and weights of other packages are in
`Stage.describe()`, weights and options of the tokenizer in its fingerprint.

A digest that is too narrow mixes rows of two makes in silence, one that is too wide refuses a
healthy job after a harmless change. So all that is reached counts unless it is left out here.
"""

from functools import cache

from pipeline.code_parts import Module, part_of, read_module
from schemas.ids import digest

ROOMS = frozenset({"schemas", "stages", "tokenizer", "pipeline"})
"""Where names are followed; beside them, for a stage of another package, in that package."""
PIPELINE = ("pipeline.sweep", "pipeline.tokenize", "pipeline.units", "pipeline.worker")
"""Modules in which every row but those about runs begins, whatever the stages are."""
TOKENIZER = ("tokenizer.codec", "Tokenizer")
"""What encodes, behind `schemas.codes.FrameEncoder`; this room does not import it."""
LEFT_OUT = frozenset(
    {
        # Says which code it is, and checks that an output is this job's.
        *("pipeline.code_fingerprint", "pipeline.code_parts"),
        # What a spec may hold: its values are compared themselves, after all defaults.
        *("schemas.job", "pipeline.spec_file", "pipeline.spec_secrets", "stages.registry"),
        # Where work runs, how often it is tried, when a job gives up; a unit's rows are the same.
        *("pipeline.engine", "pipeline.work", "pipeline.fit", "pipeline.attempts"),
        *("pipeline.breaker", "pipeline.watchdog", "pipeline.heartbeat"),
        # Progress and logs.
        *("pipeline.events", "pipeline.metrics"),
        # How committed bytes lie in a store: FORMAT in `job.json` and digests in the log say that.
        *("pipeline.commit", "pipeline.store", "pipeline.checkpoint", "pipeline.delta_log"),
        *("pipeline.delta_store", "pipeline.bucket", "pipeline.working_copy"),
        # How bytes come over the network: whatever arrives is named by its digest.
        *("pipeline.guarded_http", "pipeline.remote_inputs"),
        # From codes back to sound, and how codebooks learn.
        *("tokenizer.decoder", "tokenizer.vocoder", "tokenizer.streaming"),
        *("tokenizer.codebook_learning", "tokenizer.subspace"),
    }
)
"""Modules that can change no row, though names lead there."""


def pipeline_code() -> str:
    """Digest of the code that is common to all jobs."""
    return _digest(tuple((module, "") for module in PIPELINE))


def tokenizer_code() -> str:
    """Digest of the code from a waveform to its codes."""
    return _digest((TOKENIZER,))


def code_of(cls: type) -> str:
    """Digest of the code of `cls` and of all of ours that it uses."""
    return _digest(((cls.__module__, cls.__qualname__.partition(".")[0]),))


def counted(*roots: tuple[str, str]) -> dict[str, str]:
    """Every definition that counts for `roots`, as `module:name`, to what it is.

    A root is a module and a name in it; an empty name is all of the module.
    """
    rooms = ROOMS | {module.partition(".")[0] for module, _ in roots}
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = list(roots)
    while todo:
        target = todo.pop()
        name, wanted = target
        if target in seen or name in LEFT_OUT or name.partition(".")[0] not in rooms:
            continue
        seen.add(target)
        module = read_module(name)
        if module is None:
            continue
        package = name.rpartition(".")[0]
        if package:
            todo.append((package, _EFFECTS))
        todo.append((name, _EFFECTS))
        todo += _count(module, wanted, found)
    return found


_EFFECTS = "<import>"
"""Instead of a name: what importing a module does."""


def _count(module: Module, wanted: str, found: dict[str, str]) -> list[tuple[str, str]]:
    """Adds what a name of a module is to `found`; gives the names that this uses."""
    if wanted == _EFFECTS:
        statements = module.effects
    elif wanted and wanted in module.definitions:
        statements = module.definitions[wanted]
    elif wanted in module.imports:
        # Its other name counts, because no other line of the user would tell.
        found[f"{module.name}:{wanted}"] = repr(sorted(module.imports[wanted]))
        inner = [(f"{base}.{name}", "") for base, name in module.imports[wanted] if name]
        return [*module.imports[wanted], *inner]  # what is imported may itself be a module
    elif not wanted or wanted == "*":
        return [(module.name, name) for name in (*module.definitions, *module.imports)]
    else:
        return []  # a local name, or one of Python's own
    parts = [part_of(statement) for statement in statements]
    if parts:
        found[f"{module.name}:{wanted}"] = " ".join(part.digest for part in parts)
    uses = [(module.name, name) for part in parts for name in part.names]
    return uses + [target for part in parts for target in part.said]


@cache
def _digest(roots: tuple[tuple[str, str], ...]) -> str:
    return digest(*(f"{name}={what}" for name, what in sorted(counted(*roots).items())))
