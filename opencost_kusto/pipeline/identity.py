"""One name, one cluster: a source whose name belongs to another cluster is refused before anything is sent.

Two clusters under one name would hide each other's costs; one cluster under two names would be counted twice. The run
log has entries of each source with its fingerprint: the first is written at the first contact, before anything else,
and further ones when the fingerprint changes. A name belongs to the cluster of its earliest entry, or of the last one
that was adopted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from shlex import quote

from opencost_kusto.batch import Run, Source
from opencost_kusto.errors import KustoError, OpenCostKustoError, ReasonCode, UsageError
from opencost_kusto.extract.fingerprint import SETS, UID, UNIQUE
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.run_log import SourceEntry, write_sources
from opencost_kusto.pipeline.currency import refused_currency
from opencost_kusto.pipeline.name_entries import BEGINNING, NameEntry, entries_of
from opencost_kusto.schema.columns import Json

# Names that many clusters have, since charts, tutorials and providers use them.
VAGUE = frozenset({"default-cluster", "cluster-one", "kubernetes", "default", "cluster", "my-cluster", "minikube"})
_DIFFERS = {
    UID: "its kube-system has the uid {}, this one {}",
    "arm": "its nodes are in {}, those of this one in {}",
}


@dataclass(slots=True)
class Identity:
    """Whether a source is the cluster that its name belongs to; `hold` decides it, once.

    `adopt` accepts a cluster that was recreated or renamed, or that has another currency. `warnings` are sentences for
    the report, `refused` is the error if it cannot be loaded.
    """

    kusto: Kusto
    source: Source
    run: Run
    adopt: bool = False
    warnings: list[str] = field(default_factory=list)
    refused: OpenCostKustoError | None = None
    held: bool = False

    def hold(self) -> None:
        """Return where the source may be loaded; write its fingerprint where the run log does not have it.

        Raises UsageError for a name that differs from an existing one only in case, KustoError with OTHER_CLUSTER for
        another cluster, OTHER_CURRENCY for another currency, and another KustoError where Kusto cannot be read or
        written.
        """
        if not self.held and self.refused is None:
            hold_all([self])
        if self.refused is not None:
            raise self.refused

    def hold_if_read(self) -> None:
        """`hold`, where Kusto can be read and written; raises only what refuses the source."""
        try:
            self.hold()
        except KustoError as error:
            if error.code in (ReasonCode.OTHER_CLUSTER, ReasonCode.OTHER_CURRENCY):
                raise

    def decide(self, entries: list[NameEntry]) -> SourceEntry | None:
        """Refuse the source or not; return the entry that is missing from the run log."""
        refused = refusal(self.source, entries) or refused_currency(self.source, entries)
        if refused is not None and not (self.adopt and isinstance(refused, KustoError)):
            self.refused = refused
            return None
        self.warnings = list(cautions(self.source, entries))
        code = ReasonCode.IDENTIFIED if refused is None else ReasonCode.ADOPTED
        if refused is None and not _has_news(self.source, entries):
            return None
        return SourceEntry(code.value, " ".join(self.warnings) or None)


def hold_all(identities: Sequence[Identity]) -> None:
    """Decide which sources may be loaded, and write the entries that the run log is missing: one query, one command.

    A refusal is kept in the identity. Raises KustoError where Kusto cannot be read or written.
    """
    if not identities:
        return
    kusto, run = identities[0].kusto, identities[0].run
    log_entries = entries_of(kusto, [one.source for one in identities])
    missing = [(one, entry) for one in identities if (entry := one.decide(log_entries)) is not None]
    if missing:
        write_sources(kusto, run, [(one.source, entry) for one, entry in missing])
    # Of two clusters that begin at once under one name each reads the other's entry now: both are refused, and the
    # earliest entry decides from then on.
    names = {one.name for one in log_entries}
    new = [one for one, _ in missing if one.source.name not in names and not one.adopt]
    if new:
        now = entries_of(kusto, [one.source for one in new])
        for one in new:
            one.refused = refusal(one.source, now, at_once=True)
    for one in identities:
        one.held = one.refused is None


def hold_all_if_read(identities: Sequence[Identity]) -> None:
    """`hold_all`, where Kusto can be read; else it is read again before the first batch of each source is sent."""
    with suppress(KustoError):
        hold_all(identities)


def refusal(
    source: Source, log_entries: Iterable[NameEntry], *, at_once: bool = False
) -> KustoError | UsageError | None:
    """The error of a source that cannot be loaded under its name; None where it can.

    With `at_once` any other cluster of the name counts, and any other name of the cluster, not only the earliest.
    """
    log_entries, print_ = list(log_entries), source.fingerprint or {}
    if twin := _twin(source.name, log_entries, at_once=at_once):
        return UsageError(
            f"The cluster {source.name} differs from {twin}, which Kusto has, only in case. Use that name.",
            cure=f"opencost-kusto sync --cluster {quote(twin)}",
        )
    mine = _in_force(one for one in log_entries if one.name == source.name)
    for scheme in (one for one in UNIQUE if one in print_):
        compared = [one for one in mine if scheme in one.fingerprint][: None if at_once else 1]
        if other := next((one for one in compared if one.fingerprint[scheme] != print_[scheme]), None):
            how = _DIFFERS[scheme].format(other.fingerprint[scheme], print_[scheme])
            return KustoError(
                f"Kusto has the costs of another cluster under the name {source.name}: {how}. Name this one with "
                "--cluster, or confirm with --adopt that it was made anew.",
                code=ReasonCode.OTHER_CLUSTER,
                cure="opencost-kusto sync --cluster NAME",
            )
        same = _in_force(one for one in log_entries if _is_same(one, scheme, print_))[: None if at_once else 1]
        if other_name := next((one.name for one in same if one.name != source.name), None):
            return KustoError(
                f"Kusto has the costs of this cluster under the name {other_name}; under {source.name} they would be "
                f"counted twice. Use --cluster {quote(other_name)}, or confirm the new name with --adopt.",
                code=ReasonCode.OTHER_CLUSTER,
                cure=f"opencost-kusto sync --cluster {quote(other_name)}",
            )
        if compared:
            return None
    return None


def _twin(name: str, log_entries: Iterable[NameEntry], *, at_once: bool) -> str | None:
    """The name that differs from this one only in case, where it is the earlier; with `at_once` also the later."""
    spelled = sorted((one for one in log_entries if one.name.lower() == name.lower()), key=lambda one: one.first)
    others = [one.name for one in spelled if one.name != name]
    return others[0] if others and (at_once or spelled[0].name != name) else None


def _in_force(log_entries: Iterable[NameEntry]) -> list[NameEntry]:
    """The entries that count, the earliest first: from the last adoption on."""
    some = list(log_entries)
    since = max((one.last for one in some if one.adopted), default=BEGINNING)
    return sorted((one for one in some if one.at >= since), key=lambda one: one.at)


def _is_same(one: NameEntry, scheme: str, print_: dict[str, Json]) -> bool:
    """Whether entries are of the cluster with this fingerprint, by this scheme and all that precede it."""
    preceding = [name for name in UNIQUE[: UNIQUE.index(scheme)] if name in print_ and name in one.fingerprint]
    return one.fingerprint.get(scheme) == print_[scheme] and all(
        one.fingerprint[name] == print_[name] for name in preceding
    )


def _latest(source: Source, log_entries: Iterable[NameEntry]) -> dict[str, Json] | None:
    """The latest fingerprint of the name; None where it has no entry."""
    mine = [one for one in log_entries if one.name == source.name]
    printed = sorted((one for one in mine if one.fingerprint), key=lambda one: one.last)
    return printed[-1].fingerprint if printed else ({} if mine else None)


def cautions(source: Source, log_entries: list[NameEntry]) -> Iterable[str]:
    """Warnings about a source that is not refused."""
    latest, print_ = _latest(source, log_entries), source.fingerprint or {}
    if latest is None and source.name.lower() in VAGUE:
        yield (
            f"{source.name} is a name that many clusters have; a second one is refused under it. Give this one a name "
            "of its own with --cluster before more costs are loaded."
        )
    comparable = [scheme for scheme in SETS if latest and scheme in latest and scheme in print_]
    unique = any(scheme in print_ and scheme in (latest or {}) for scheme in UNIQUE)
    if latest and comparable and not unique and not any(_common(latest, print_, scheme) for scheme in comparable):
        yield (
            f"None of the {' or '.join(comparable)} that the run log has of {source.name} is in this cluster: it may "
            "be another one of the same name. Check --cluster."
        )


def _has_news(source: Source, log_entries: list[NameEntry]) -> bool:
    """Whether the source has a scheme that the run log does not have, or a set of which most is new."""
    latest, print_ = _latest(source, log_entries), source.fingerprint or {}
    if latest is None:
        return bool(print_)
    missing = any(scheme not in latest for scheme in print_)
    return missing or any(
        2 * len(_common(latest, print_, scheme)) < len(print_[scheme]) for scheme in SETS if scheme in print_
    )


def _common(one: dict[str, Json], other: dict[str, Json], scheme: str) -> set[str]:
    return set(one[scheme]) & set(other[scheme])
