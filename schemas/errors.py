"""The error family: every expected failure says where, what was found, what was wanted, what to do.

The command line turns an `AudiomillError` into one line and exit code 2. Anything else that reaches
it is a bug and keeps its traceback.
"""


class AudiomillError(Exception):
    """Something a person can mend; `str(error)` is one readable line."""


class SpecError(AudiomillError, ValueError):
    """A job spec that cannot be run as written."""


class EngineMissingError(AudiomillError, ImportError):
    """A stage names an engine whose package, model or device is not on this machine."""


class PlanError(AudiomillError, RuntimeError):
    """A job that this cluster can never schedule; the message holds the arithmetic."""


class OutputError(AudiomillError, ValueError):
    """An output folder that belongs to another job, is damaged, or is not an output at all."""


class StorageError(AudiomillError, OSError):
    """Our own storage failed (full disk, no permission): never blamed on an input."""


class JobStoppedError(AudiomillError, RuntimeError):
    """Nearly all inputs fail in one way that is our fault; none was marked as failed for it."""


class TokenizerError(AudiomillError, ValueError):
    """Audio or codes that a tokenizer cannot take, or a checkpoint that does not fit its config."""


class TrainingError(AudiomillError, RuntimeError):
    """A training run that cannot start, go on, or be resumed; what was saved before is kept."""


class ModelError(AudiomillError, ValueError):
    """A language-model checkpoint, prompt or batch that does not fit together."""


class ItemError(AudiomillError, ValueError):
    """One input or segment that cannot be processed; the rest of the job goes on.

    `error_class` is a stable upper-case word of `schemas.failures.ERROR_CLASSES`, so that failures
    can be grouped; the message is a sentence a person can act on.
    """

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class

    def __reduce__(self) -> tuple[type["ItemError"], tuple[str, str]]:
        return type(self), (self.error_class, str(self))
