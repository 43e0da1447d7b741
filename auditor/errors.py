"""Every error that `auditor` raises on purpose.

AuditorError
├── InputError                what the user gave cannot be used; nothing was changed
│   ├── SubjectError          a model cannot be found, read or understood
│   ├── AccessError           the subject does not offer what the work needs
│   ├── VocabularyError       two models need the same vocabulary and have different ones
│   ├── SuiteError            a probe suite is missing, malformed or was edited
│   ├── RecordsError          a file of recorded outputs cannot be read
│   ├── RecipeError           a distillation recipe is malformed
│   ├── BaselineError         a run is not the baseline of another: data or student differ
│   ├── PlanError             an audit plan is malformed, incomplete, or not the locked one
│   ├── PermissionRefusedError  there is no permission to train on a teacher
│   ├── SigningKeyError       a key cannot be read, or is not of the kind that signs
│   ├── TimestampError        a time stamp is refused, broken, or over something else
│   ├── CaseError             a folder holds another case, or a broken one
│   └── GateError             a --fail-on expression cannot be understood
├── StorageError              the disk refused a write; what was written before is intact
├── ServerError               a server is not there, refuses every request, or goes on failing
│   └── EndpointError         it answers nothing at the path that was asked
├── BudgetError               the next request would pass a limit on requests or cost; resumable
├── ExecutorError             a cluster cannot be reached, or workers are lost again and again
├── DataNotFoundError         the installation lacks probes/ or reports/
├── RegistryError             two measures share a name, or a measure file cannot be imported
├── KernelUnavailableError    the implementation asked for cannot run here
├── MissingExtraError         an optional package is needed
└── UndefinedError            a statistic has no value on these inputs

Only `auditor.cli` turns errors into exit codes.
"""


class AuditorError(Exception):
    """A failure with a message for people and, where there is one, the remedy."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(AuditorError):
    """What the user gave cannot be used."""


class SubjectError(InputError):
    """A model cannot be found, read or understood."""


class AccessError(InputError):
    """The subject does not offer what the work needs."""


class VocabularyError(InputError):
    """Two models need the same vocabulary and have different ones."""


class SuiteError(InputError):
    """A probe suite is missing, malformed, or differs from its published digest."""


class RecordsError(InputError):
    """A file of recorded outputs cannot be read."""


class RecipeError(InputError):
    """A distillation recipe is malformed."""


class BaselineError(InputError):
    """A run that is named as the baseline of another was not made as the other was."""


class PlanError(InputError):
    """An audit plan is malformed, incomplete, or not the one that was locked."""


class PermissionRefusedError(InputError):
    """There is no permission to train on this teacher's outputs."""


class CaseError(InputError):
    """A folder holds another case, or one that cannot be continued."""


class SigningKeyError(InputError):
    """A key cannot be read, is protected, or is not of the kind that signs."""


class TimestampError(InputError):
    """A time stamp is refused, broken, or over something else."""


class GateError(InputError):
    """A --fail-on expression cannot be understood."""


class StorageError(AuditorError):
    """The disk refused a write; what was written before is intact."""


class ServerError(AuditorError):
    """A server is not there, refuses every request, or goes on failing."""

    status: int | None = None
    """With which it refused; None where it did otherwise."""


class EndpointError(ServerError):
    """A server answers nothing at the path that was asked: another address, or it lacks it."""


class BudgetError(AuditorError):
    """The next request would pass a limit on requests or cost; what was had is kept."""


class ExecutorError(AuditorError):
    """A cluster cannot be reached, cannot hold a job, or loses its workers; work done is kept."""


class DataNotFoundError(AuditorError):
    """The installation lacks the data folders."""


class RegistryError(AuditorError):
    """The set of measures is not well formed."""


class KernelUnavailableError(AuditorError):
    """The implementation asked for cannot run on this machine."""


class MissingExtraError(AuditorError):
    """An optional package is needed and not installed."""


class UndefinedError(AuditorError):
    """A statistic has no value on these inputs; the message says why."""
