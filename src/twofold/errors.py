"""The errors of twofold, grouped by who can fix them.

TwofoldError
├── DeclarationError     the model's author: the declaration contradicts itself
├── ConfigError          the operator: a setting is missing or out of range (all of them, at once)
├── InvalidInput         the caller: the rows don't fit the signature
│   ├── UnknownModel     the caller: no such model, version or alias
│   └── UnknownKey       the caller: no prediction is stored for the key, and no row was given
├── Refused              nobody: no work was done, a retry is safe
│   ├── Overloaded       its turn would come after its deadline
│   ├── QuotaExceeded    the caller: over its own quota
│   ├── Stale            the stored prediction is too old, and there is no row for another one
│   └── Draining         the server is stopping; another one will answer
├── DeadlineExceeded     nobody: the answer would have come too late
├── PredictionFailed     the model's author: predict raised, or broke its own signature
├── BudgetExceeded       the caller's data: more rows were quarantined than the run allows
├── GatesShut            the operator: a snapshot isn't good enough to be switched to
├── LeaseHeld            nobody: another process works on this run
├── StoreUnavailable     the operator: the store of snapshots doesn't answer
├── DeliveryFailed       the operator: the run is committed, but isn't where else it was to go
└── CommitUnknown        the operator: look at the output before any retry
    └── DeliveryUnknown  the operator: the same for where else it was to go; do it again

A message reads `where: expected X, got Y. Fix.`, in the reader's own words.
"""

from __future__ import annotations

from collections.abc import Sequence


class TwofoldError(Exception):
    """Base of every error that twofold raises on purpose."""


class DeclarationError(TwofoldError):
    """The model, its sample or the options it was packed with contradict each other."""


class ConfigError(TwofoldError):
    """Settings or the installation are wrong; `problems` lists every one found."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        """Keep every problem so that an operator can mend them in one go."""
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


class InvalidInput(TwofoldError):
    """The rows given don't fit the signature, or one was given where many were expected.

    Attributes:
        field: The signature's field at fault, if one is.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        """Name the field at fault, where one is."""
        super().__init__(message)
        self.field = field


class UnknownModel(InvalidInput):
    """No model, version or alias of that name is in the registry."""


class UnknownKey(InvalidInput):
    """No prediction is stored for the key, and there is no row to make one of."""


class Refused(TwofoldError):
    """No work was done; a retry is safe."""


class Overloaded(Refused):
    """Its turn would come after its deadline.

    Attributes:
        retry_after_s: Whole seconds after which a retry may have a chance.
    """

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        """Say when to come back."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QuotaExceeded(Refused):
    """The caller's key is used more than it may be; other callers are not affected.

    Attributes:
        retry_after_s: Seconds until a request will be let in, if no other is sent before.
    """

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        """Say when to come back."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Stale(Refused):
    """The stored prediction is too old to be an answer, and there is no row for a new one."""


class Draining(Refused):
    """The server finishes what it has and takes no more."""


class DeadlineExceeded(TwofoldError):
    """The answer would have come after the caller's deadline."""


class PredictionFailed(TwofoldError):
    """The model raised, or what it returned breaks its own signature."""


class BudgetExceeded(TwofoldError):
    """A run set aside more rows than it may; nothing was committed."""


class GatesShut(TwofoldError):
    """A snapshot doesn't pass the gates; the one before is read on."""


class LeaseHeld(TwofoldError):
    """Another process is working on this run, or publishes snapshots of this model."""


class StoreUnavailable(TwofoldError):
    """The store of snapshots doesn't answer, or not in time."""


class DeliveryFailed(TwofoldError):
    """The run is committed, but nothing of it came to some of its targets."""


class CommitUnknown(TwofoldError):
    """Whether the run was committed can't be told; look at the output before any retry."""


class DeliveryUnknown(CommitUnknown):
    """The run is committed; whether a target has it can't be told. A retry is safe, and tells."""


def problem(where: str, expected: str, got: str, fix: str) -> str:
    """Render the one message form: `where: expected X, got Y. Fix.`."""
    return f"{where}: expected {expected}, got {got}. {fix}"


def missing_extra(package: str, extra: str, purpose: str) -> ConfigError:
    """Say which extra brings a package that isn't installed."""
    return ConfigError(
        f"{purpose} needs {package}, which is not installed. "
        f"Install twofold[{extra}]: pip install 'twofold[{extra}]'."
    )
