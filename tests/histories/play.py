"""Play a history over one world, and check what must hold after every run and at the end."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

from opencost_kusto.emulator.kusto import commands
from opencost_kusto.emulator.kusto.behaviour import ALL_OFF, Behaviour
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.result import BatchResult, Outcome, Report
from opencost_kusto.schema.tables import ALLOCATION
from tests.faults import damage
from tests.histories import holdings
from tests.histories.commands import HOUR, NOW, Skipping, run_command
from tests.histories.drifting import Drifting
from tests.histories.generate import FIRST, LAST
from tests.histories.processes import killed
from tests.histories.steps import RESPONSES, Both, Command, Harm, History, Hold, Kill, Release, Respond, Step, Sync
from tests.support.world import World

# Seconds after which a command, or twice as many after which a history, hangs.
_HUNG = 120.0
_LANDED = (Outcome.LANDED, Outcome.ALREADY_LANDED)
_SENT = (*_LANDED, Outcome.QUEUED, Outcome.TIMED_OUT)


class Play:
    """One history over a world of its own tables; `violations` are what must not be."""

    def __init__(self, history: History, world: World, opencost: Drifting) -> None:
        self.violations: list[str] = []
        self._history = history
        self._world = world
        self._opencost = opencost
        self._spool = Path(tempfile.mkdtemp(prefix="histories-"))
        # Whether a second copy of what is in the table is kept out of it by the tag of the first.
        self._tagged = history.tags
        self._landed: set[str] = set()
        self._sent: set[str] = set()
        began = time.monotonic()
        self.engine.clock = lambda: NOW + timedelta(seconds=time.monotonic() - began)

    @property
    def engine(self) -> Engine:
        """The database."""
        return self._world.kusto.engine

    def close(self) -> None:
        """Remove the spool."""
        shutil.rmtree(self._spool, ignore_errors=True)

    def play(self) -> None:
        """Play the steps, and then those that repair everything."""
        self._world.kusto.behaviour = Behaviour(self._history.seed, **self._history.switches)  # type: ignore[arg-type]
        for step in self._history.steps:
            self._step(step)
        self._world.kusto.behaviour = ALL_OFF
        self._world.drain()
        self._after()

    def _step(self, step: Step) -> None:
        match step:
            case Both(one, other):
                threads = [threading.Thread(target=self.command, args=(each,), daemon=True) for each in (one, other)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(_HUNG)
                    if thread.is_alive():
                        self.violations.append(f"{step} hangs")
            case Respond(mode):
                self._opencost.mode = mode
            case Harm():
                self._harm(step)
            case Hold():
                self._world.kusto.pause()
            case Release(drain):
                self._world.kusto.resume()
                if drain:
                    self._world.kusto.wait_idle(30)
            case Kill():
                self._kill(step)
            case _:
                self.command(step)

    def _kill(self, step: Kill) -> None:
        """Run a process to its signal; it ends by it or before it, and what it printed as landed is in the table."""
        ended = killed(step, self._world, self._spool, tags=self._history.tags)
        if ended.exit_code not in ended.expected:
            self.violations.append(f"{step} ends with {ended.exit_code}: {ended.stderr[-300:]}")
        for batch_id in ended.landed:
            wrong = self._wrong(batch_id)
            self._landed.add(batch_id)
            # Without tags, what an earlier run left in the queue may have come since it was counted.
            if wrong and (self._tagged or wrong == "nothing"):
                self.violations.append(f"{step} printed that {batch_id} landed, and the table holds {wrong}")

    def _harm(self, harm: Harm) -> None:
        """Change what the table holds of an hour."""
        start = NOW.replace(hour=harm.hour, minute=0)
        here = f"WindowStart == datetime({start:%Y-%m-%dT%H:%M:%SZ})"
        texts = {
            "missing": damage.delete(f"{here} and RowNumber <= 2"),
            "gone": damage.delete(here),
            "doubled": damage.copy(here),
            "one doubled": damage.copy(f"{here} and RowNumber == 1"),
            "mixed": damage.change(f"{here} and RowNumber <= 2", CollectionTime="CollectionTime + 1d"),
        }
        with self.engine.lock:
            # Only what was reported from here on is compared with the table at the end.
            self._landed = {batch for batch in self._landed if f"/{start:%Y%m%dT%H%MZ}-" not in batch}
            if harm.kind in texts:
                commands.run(self.engine, texts[harm.kind])
                return
            extents = self.engine.tables[ALLOCATION.name].extents
            try:
                self._world.kusto.wait_idle(0.5)
            except TimeoutError:
                self._tagged = False
            extents.update({id_: replace(extent, tags=()) for id_, extent in extents.items()})

    def command(self, step: Command) -> Report | None:
        """Run a command and check its report; None where it raised one of our errors or was cancelled."""
        token, sent = Skipping(step.cancel), set(self._sent)
        try:
            report = run_command(step, self._world, self._spool, token, self._ended, tags=self._history.tags)
        except OpenCostKustoError:
            return None
        except BaseException as error:
            if not token.cancelled:
                self.violations.append(f"{step} raised {error!r}")
            return None
        self._check(step, report)
        for one in report.results:
            if one.outcome is Outcome.EMPTY and one.batch_id in sent:
                self.violations.append(f"{step}: {one.batch_id} is called empty, though a run has sent rows of it")
            if one.outcome in _SENT and report.run_log is None:
                self._sent.add(one.batch_id)
        return report

    def _ended(self, result: BatchResult) -> None:
        """What is reported landed is in the table, complete and once."""
        if result.outcome not in _LANDED:
            return
        with self.engine.lock:
            wrong = self._wrong(result.batch_id) or self._differs(result)
            if wrong and not self._tagged and self._includes(result):
                # A second copy, or what an earlier run left in the queue, has come since it was counted.
                wrong = ""
            self._landed.add(result.batch_id)
        if wrong:
            self.violations.append(f"{result.batch_id} is called {result.outcome}, and the table holds {wrong}")

    def _wrong(self, batch_id: str) -> str:
        """What is wrong with a batch in the table, or ""."""
        found = holdings.held(self.engine).get(batch_id)
        return "nothing" if found is None else found.damage(self._opencost.sent[found.window])

    def _differs(self, result: BatchResult) -> str:
        """What the table holds, where that is not what the result says."""
        found = holdings.held(self.engine)[result.batch_id]
        if (len(found.numbers), round(found.cost, 4)) == (result.rows, round(result.cost or 0.0, 4)):
            return ""
        return f"{len(found.numbers)} rows and {found.cost:.5f} instead of {result.rows} and {result.cost}"

    def _includes(self, result: BatchResult) -> bool:
        """Whether what is reported landed is in the table, complete, whatever else is."""
        found = holdings.held(self.engine).get(result.batch_id)
        sent = self._opencost.sent
        return found is not None and found.includes(sent[found.window], result.rows or 0, result.cost or 0.0)

    def _check(self, step: Command, report: Report) -> None:
        """Exit code, outcomes and run log agree."""
        latest = {one.batch_id: one for one in report.results}
        bad = [one for one in report.results if one.outcome in (Outcome.FAILED, Outcome.LOST, Outcome.TIMED_OUT)]
        if (report.exit_code == 0) != (not bad and report.run_log is None):
            self.violations.append(f"{step} ends with {report.exit_code}, and its batches with {report.counts}")
        for one in bad:
            if not one.reason or "\n" in one.reason or (one.outcome is not Outcome.TIMED_OUT and not one.exit_code):
                self.violations.append(f"{one.batch_id} is {one.outcome} with {one.exit_code}: {one.reason!r}")
        logged = holdings.logged(self.engine, report.run_id)
        for batch, one in latest.items():
            # Where Kusto cannot be read nothing can be logged either.
            unlogged = batch not in logged and (report.run_log is not None or one.outcome is Outcome.FAILED)
            if not unlogged and logged.get(batch) != one.outcome:
                self.violations.append(f"{step}: {batch} is {one.outcome}, and the run log says {logged.get(batch)}")

    def _after(self) -> None:
        """What must hold once the queue is empty and nothing fails any more."""
        found = holdings.held(self.engine)
        self.violations += [
            f"{one.window} landed and has not ended by OpenCost's clock"
            for one in found.values()
            if one.window.end > NOW
        ]
        self.violations += [
            f"{batch} was called landed, and nothing of it is left" for batch in self._landed if batch not in found
        ]
        if not self._history.switches:
            self.violations += [
                f"rows of {batch} say {moment}, which is not Kusto's clock"
                for batch, one in found.items()
                for moment in one.collected
                if (moment.astimezone(UTC) - NOW) % timedelta(days=1) > HOUR
            ]
        everything = Sync((FIRST, LAST - 1))
        if not self._mended(everything):
            self._opencost.mode = "longer"
            if not self._mended(everything) and not self._mended(replace(everything, replace=True)):
                self.violations.append("sync --replace with a complete response does not mend it")
        if self._world.staging and not self._history.switches.keys() & {"unanswered", "throttled"}:
            self.violations.append(f"staging tables are left: {self._world.staging}")

    def _mended(self, step: Sync) -> bool:
        """Run, check that each window is complete, empty or failed by its code; return whether none needs more."""
        report = self.command(step)
        if report is None:
            self.violations.append(f"{step} at the end raised an error")
            return True
        logged = holdings.logged(self.engine)
        for one in report.results:
            self._agree(one, self._wrong(one.batch_id), logged.get(one.batch_id))
        # What another cluster landed under this name stays until somebody decides.
        other = all(one.reason_code == "other cluster" for one in report.results if one.outcome is Outcome.FAILED)
        return report.exit_code == 0 or other

    def _agree(self, one: BatchResult, wrong: str, logged: str | None) -> None:
        responds = self._opencost.mode in RESPONSES
        match one.outcome:
            case Outcome.LANDED | Outcome.ALREADY_LANDED:
                ok = not wrong
            case Outcome.EMPTY:
                ok = wrong == "nothing" and self._opencost.mode == "empty"
            case Outcome.FAILED if responds:
                # Fewer rows at hand than held, or another cluster's: only people can decide.
                ok = one.exit_code == 5 and one.reason_code in ("damaged", "other cluster")
            case Outcome.FAILED:
                ok = bool(wrong) and one.exit_code in (3, 4, 5)
            case _:
                ok = False
        if not ok or logged != one.outcome:
            self.violations.append(
                f"at the end {one.batch_id} is {one.outcome} ({one.exit_code}, {one.reason}), the run log says "
                f"{logged}, and the table holds {wrong or 'a complete response'}"
            )


def played(history: History) -> list[str]:
    """Play a history in a world of its own; return what must not be."""
    opencost = Drifting(NOW)
    with World(responder=opencost) as world:
        play = Play(history, world, opencost)
        try:
            play.play()
        finally:
            play.close()
        return play.violations


def finished(history: History) -> list[str]:
    """`played`, with what it raises and a hang as violations."""
    found: list[str] = []

    def work() -> None:
        try:
            found.extend(played(history))
        except BaseException as error:
            found.append(f"raised {error!r}")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(2 * _HUNG)
    return [*found, "hangs"] if thread.is_alive() else found
