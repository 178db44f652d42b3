"""When ticks run, how they end, what a terminated process does, and its health endpoint."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import IO

import pytest
from apscheduler.triggers.base import BaseTrigger

from opencost_kusto.cancel import CancelToken
from opencost_kusto.cli import app
from opencost_kusto.cli.schedule_options import TimesOptions
from opencost_kusto.cli.termination import Process
from opencost_kusto.emulator import CloseConnection, Reply
from opencost_kusto.errors import KustoError, UsageError
from opencost_kusto.result import BatchResult, Outcome, Report
from opencost_kusto.retry import retrying
from opencost_kusto.schedule.health import Health, served
from opencost_kusto.schedule.left import Left
from opencost_kusto.schedule.loop import Schedule, TickResult
from opencost_kusto.schedule.trigger import Trigger
from opencost_kusto.window import Window
from tests.support.store_world import HOUR, MINUTE, BuiltInStore, StoreWorld
from tests.support.world import World

ROOT = Path(__file__).parents[2]
# A Thursday.
NOW = datetime(2026, 12, 10, 9, 15, tzinfo=UTC)
OnResult = Callable[[BatchResult], None]


def one(kind: str = Outcome.LANDED, dataset: str = "allocation", **more: object) -> BatchResult:
    """An outcome of the hour before NOW."""
    until = NOW.replace(minute=0)
    return BatchResult("id", "table", "here", dataset, until - HOUR, until, 60, None, kind, **more)  # type: ignore[arg-type]


def fires(times: Trigger, count: int) -> list[str]:
    """The next ticks, day of the week and time."""
    return [f"{fire:%a %H:%M}" for fire in islice(times.after(NOW), count)]


def test_ticks_run_when_windows_close() -> None:
    """A tick runs after each aligned end, once the measurements have settled."""
    assert fires(Trigger(HOUR, 10 * MINUTE), 3) == ["Thu 10:10", "Thu 11:10", "Thu 12:10"]
    assert fires(Trigger(10 * MINUTE, 4 * MINUTE), 3) == ["Thu 09:24", "Thu 09:34", "Thu 09:44"]
    assert fires(Trigger(24 * HOUR, HOUR), 2) == ["Fri 01:00", "Sat 01:00"]
    assert Trigger(HOUR, 10 * MINUTE).longest_pause(NOW) == HOUR


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("5 * * * *", ["Thu 10:05", "Thu 11:05"]),
        ("0 6 * * 1-5", ["Fri 06:00", "Mon 06:00"]),
        ("0 6 * * 0", ["Sun 06:00", "Sun 06:00"]),
        ("0 6 * * 7,sat", ["Sat 06:00", "Sun 06:00"]),
        ("0 6 * * 5-7", ["Fri 06:00", "Sat 06:00"]),
        ("0 6 * * 0-2", ["Sun 06:00", "Mon 06:00"]),
        ("0 6 * * */2", ["Sat 06:00", "Sun 06:00"]),
        ("0 6 * * mon-fri", ["Fri 06:00", "Mon 06:00"]),
    ],
)
def test_a_crontab_line_means_what_it_means_to_cron(line: str, expected: list[str]) -> None:
    """Days of the week count from Sunday, as everywhere but in the scheduler's own numbering."""
    assert fires(Trigger(HOUR, MINUTE, line), 2) == expected


def test_the_longest_pause_of_working_days_is_the_weekend() -> None:
    """Readiness waits as long as the schedule does."""
    assert Trigger(HOUR, MINUTE, "0 6 * * 1-5").longest_pause(NOW) == timedelta(days=3)


@pytest.mark.parametrize("line", ["", "hourly", "* * * *", "61 * * * *", "0 6 * * 8"])
def test_what_is_no_crontab_line_is_refused(line: str) -> None:
    """One sentence says what five fields look like."""
    with pytest.raises(UsageError, match="is no crontab line"):
        Trigger(HOUR, MINUTE, line)


class Soon(BaseTrigger):  # type: ignore[misc]
    """Fires again and again, without much of a pause, as long as it is to go on."""

    def __init__(self, go_on: Callable[[], bool]) -> None:
        self._go_on = go_on

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """A moment from now."""
        del previous
        return now + timedelta(milliseconds=5) if self._go_on() else None


def soon(go_on: Callable[[], bool] = lambda: True) -> Trigger:
    """Times without a wait, as long as they are to continue."""
    times = Trigger(HOUR, MINUTE)
    times.trigger = Soon(go_on)
    return times


def test_ticks_run_one_after_the_other_and_continue_after_a_failure() -> None:
    """The first runs at once; a failed one is reported, and the next runs nevertheless, never two at a time."""
    ended: list[TickResult] = []
    running = threading.Lock()
    numbers = iter(range(10))

    def tick(on_result: OnResult) -> Report:
        assert running.acquire(blocking=False)
        number = next(numbers)
        on_result(one())
        running.release()
        if number == 1:
            raise KustoError("Kusto is away.")
        if number == 2:
            schedule.signal(signal.SIGTERM)
        return Report(str(number))

    reported: list[BatchResult] = []
    schedule = Schedule(tick, on_result=[reported.append], on_end=[ended.append])
    # A fourth could begin before the signal is heard.
    assert schedule.run(soon(lambda: len(reported) < 3)) == 0
    assert [each.exit_code for each in ended] == [0, 5, 0]
    assert str(ended[1].error) == "Kusto is away."
    assert len(reported) == 3


def test_each_tick_waits_a_time_of_its_own() -> None:
    """The first tick and every later one wait a random time, which is drawn anew; without jitter none waits."""
    sent: list[tuple[float, float]] = []

    def uniform(least: float, most: float) -> float:
        sent.append((least, most))
        return most

    delay = TimesOptions(jitter="1m").delay(uniform)
    assert [delay(), delay(), TimesOptions().delay(uniform)()] == [60.0, 60.0, 0.0]
    assert sent == [(0.0, 60.0)] * 2
    happened: list[str] = []

    def tick(_: OnResult) -> Report:
        happened.append("run")
        if len(happened) == 4:
            schedule.signal(signal.SIGTERM)
        return Report("r")

    def drawn() -> float:
        happened.append("delay")
        return 0.01

    schedule = Schedule(tick, delay=drawn)
    assert schedule.run(soon()) == 0
    assert happened == ["delay", "run"] * 2


def test_a_signal_ends_the_wait_for_one_tick() -> None:
    """What waits for its time is terminated at once: nothing is under way."""
    began: list[OnResult] = []

    def tick(on_result: OnResult) -> Report:
        began.append(on_result)
        return Report("never")

    schedule = Schedule(tick, delay=lambda: 3600.0)
    schedule.signal(signal.SIGTERM)
    assert (schedule.once(), began) == (128 + signal.SIGTERM, [])


class Terminated(Process):
    """A command that is terminated as soon as it can be."""

    @contextmanager
    def signals_to(self, receiver: Callable[[int], None]) -> Iterator[None]:
        """Send the signal at once."""
        receiver(signal.SIGTERM)
        yield


def test_a_command_waits_before_its_run(here: StoreWorld) -> None:
    """With --jitter, the one run of a CronJob's pod has not begun when the signal comes; without, it has."""
    words = command(here, "--once")[3:]
    for more, requested in ((["--jitter", "59m"], False), ([], True)):
        code = app([*words, *more], standalone_mode=False, obj=Terminated())
        assert (code, bool(here.store.requested)) == (128 + signal.SIGTERM, requested)


def test_a_format_for_other_commands_does_not_stop_a_schedule(
    here: StoreWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable, as any option that has no effect, is ignored; on the command line --format is refused."""
    monkeypatch.setenv("OPENCOST_KUSTO_FORMAT", "json")
    assert app(command(here)[3:], standalone_mode=False, obj=Terminated()) in (0, 128 + signal.SIGTERM)
    assert capsys.readouterr().out == ""
    with pytest.raises(UsageError, match="--format is for --once"):
        app([*command(here)[3:], "-o", "json"], standalone_mode=False, obj=Terminated())


@pytest.mark.parametrize(
    ("jitter", "message"),
    [("2h", "must be shorter than --every 1h"), ("soon", "is not a duration"), ("0s", "is not a duration")],
)
def test_a_jitter_that_skips_runs_is_refused(jitter: str, message: str) -> None:
    """A run waits at most as long as the time to the next."""
    with pytest.raises(UsageError, match=message):
        TimesOptions(jitter=jitter).delay()


def test_missed_ticks_are_made_up_for_by_one() -> None:
    """A tick that takes three hours and a half is followed by one at once, and then by none until the next is due."""
    now, began = [NOW], list[datetime]()

    def tick(on_result: OnResult) -> Report:
        del on_result
        began.append(now[0])
        if len(began) == 1:
            now[0] += 3 * HOUR + 30 * MINUTE
        else:
            threading.Timer(0.3, schedule.signal, [signal.SIGTERM]).start()
        return Report("one")

    schedule = Schedule(tick, clock=lambda: now[0])
    assert schedule.run(Trigger(HOUR, 10 * MINUTE)) == 0
    assert began == [NOW, NOW + 3 * HOUR + 30 * MINUTE]


def test_a_tick_is_due_after_the_one_before() -> None:
    """A tick that began at its very moment is not due again, and a crontab line without a next moment is never."""
    times = Trigger(HOUR, 10 * MINUTE)
    due = NOW.replace(minute=10)
    assert times.next_after(due) == due + HOUR
    assert soon(lambda: False).next_after(NOW) is None


def test_a_tick_that_is_under_way_may_end() -> None:
    """Terminated in the middle of a tick, it ends within the grace, is reported as it ended, and no other begins."""
    ended: list[TickResult] = []

    def tick(on_result: OnResult) -> Report:
        schedule.signal(signal.SIGTERM)
        threading.Event().wait(0.2)
        on_result(one())
        return Report("only")

    schedule = Schedule(tick, on_end=[ended.append], grace=20)
    assert schedule.run(soon()) == 0
    assert len(ended) == 1


@pytest.mark.parametrize("second", [False, True], ids=["grace", "second signal"])
@pytest.mark.parametrize("once", [False, True], ids=["run", "once"])
def test_a_tick_that_outlasts_the_grace_is_abandoned(second: bool, once: bool) -> None:
    """After the grace, or at a second signal, the process ends with 128 + the signal, and nothing more is reported."""
    go_on = threading.Event()
    reported: list[BatchResult] = []
    ended: list[TickResult] = []

    def tick(on_result: OnResult) -> Report:
        schedule.signal(signal.SIGTERM)
        if second:
            schedule.signal(signal.SIGINT)
        go_on.wait(20)
        on_result(one())
        return Report("late")

    schedule = Schedule(tick, on_result=[reported.append], on_end=[ended.append], grace=60 if second else 0.05)
    assert (schedule.once() if once else schedule.run(soon())) == 128 + signal.SIGTERM
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "tick":
            thread.join(20)
    assert (reported, ended) == ([], [])


@pytest.mark.parametrize("once", [False, True], ids=["run", "once"])
def test_an_abandoned_tick_gives_back_what_it_holds(once: bool) -> None:
    """After the grace it is cancelled, and has a moment to stop before the process ends."""
    stop, returned, ended = CancelToken(), list[bool](), list[TickResult]()

    def tick(on_result: OnResult) -> Report:
        del on_result
        schedule.signal(signal.SIGTERM)
        try:
            stop.sleep(20)
        finally:
            time.sleep(0.2)
            returned.append(True)
        return Report("never")

    schedule = Schedule(tick, on_end=[ended.append], grace=0.05, stop=stop)
    assert (schedule.once() if once else schedule.run(soon())) == 128 + signal.SIGTERM
    assert (returned, ended) == ([True], [])


@pytest.mark.parametrize(("kind", "code"), [(Outcome.LANDED, 0), (Outcome.FAILED, 3)])
def test_one_tick_ends_with_its_exit_code(kind: str, code: int) -> None:
    """`--once` is what the tick was."""
    report = Report("once", [one(kind, exit_code=code)])
    assert Schedule(lambda _: report).once() == code


def test_a_defect_is_exit_code_70() -> None:
    """An unexpected error does not look like success."""
    assert Schedule(lambda _: Report(str(1 // 0))).once() == 70


def test_days_are_caught_up_for_two_weeks() -> None:
    """The built-in store keeps days for longer, and two of them would not fit into two days."""
    assert TimesOptions(every="1d").lookback().catch_up == timedelta(days=14)
    assert TimesOptions(every="10m").lookback().catch_up == timedelta(hours=48)
    assert TimesOptions(every="1d", catch_up="3d").lookback().catch_up == timedelta(days=3)


def test_readiness_follows_the_last_good_tick() -> None:
    """Not ready before the first good tick, ready after it, and not when it is older than the deadline."""
    now = [NOW]
    health = Health(2 * HOUR, clock=lambda: now[0])
    assert health.response("/readyz")[0] == 503
    health.ticked(TickResult(NOW, 3.0, Report("bad", [one(Outcome.FAILED, exit_code=3)])))
    assert health.response("/readyz")[0] == 503
    health.ticked(TickResult(NOW, 3.0, Report("good", [one()])))
    assert health.response("/readyz")[::2] == (200, b"ok\n")
    now[0] += 2 * HOUR + MINUTE
    health.ticked(TickResult(now[0], 3.0, error=KustoError("no")))
    status, _, body = health.response("/readyz")
    assert (status, body) == (503, b"The last successful run began 2:01:00 ago; the limit is 2:00:00.\n")


def test_one_cluster_of_a_fleet_does_not_make_it_unready() -> None:
    """A run in which some batches landed has worked, though it is no success, which the alerts count."""
    health = Health(2 * HOUR, clock=lambda: NOW)
    health.ticked(TickResult(NOW, 3.0, Report("partial", [one(), one(Outcome.FAILED, exit_code=3)])))
    assert health.response("/readyz")[0] == 200
    assert health.registry.get_sample_value("opencost_kusto_last_success_timestamp_seconds") == 0


def test_a_fleet_with_nothing_due_but_of_one_cluster_is_ready() -> None:
    """Where one cluster is away and nothing is due of the others, no batch landed; the next run counts for itself."""
    failed = TickResult(NOW, 3.0, Report("away", [one(Outcome.FAILED, exit_code=3)]))
    for missing, status in ((1, 503), (0, 200)):
        health = Health(2 * HOUR, clock=lambda: NOW)
        health.left(Left("up", "allocation", missing, 0))
        health.left(Left("away", "allocation", 1, 0))
        health.ticked(failed)
        assert health.response("/readyz")[0] == status
    health = Health(2 * HOUR, clock=lambda: NOW + 3 * HOUR)
    health.left(Left("up", "allocation", 0, 0))
    health.ticked(failed)
    health.ticked(TickResult(NOW + 3 * HOUR, 3.0, failed.report))
    assert health.response("/readyz")[0] == 503


def test_unknown_paths_are_not_found() -> None:
    """The liveness probe reads /healthz; other paths are not found."""
    health = Health(HOUR, clock=lambda: NOW)
    assert (health.response("/healthz")[0], health.response("/elsewhere")[0]) == (200, 404)


def test_metrics_are_those_of_the_readme() -> None:
    """Names, kinds and sentences are a contract; no series says when a counter was created."""
    health = Health(HOUR, clock=lambda: NOW)
    health.count(one(rows=8))
    text = health.response("/metrics")[2].decode()
    assert "_created" not in text
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    docs = re.findall(r"^# HELP (\w+) (.*)$", text, re.MULTILINE)
    lines = "\n".join(f"| `{name}` | {kinds[name]} | {doc} |" for name, doc in docs)
    pages = [ROOT / "README.md", *(ROOT / "opencost_kusto" / "guides").glob("*.md")]
    assert any(lines in page.read_text("utf-8") for page in pages), lines


def test_gauges_say_what_a_run_has_left() -> None:
    """Missing and lost windows are those of the last run."""
    health = Health(HOUR, clock=lambda: NOW)
    for missing in (3, 0):
        health.left(Left("here", "allocation", missing, 1))
        text = health.response("/metrics")[2].decode()
        assert f'opencost_kusto_missing_windows{{dataset="allocation",source="here"}} {missing}.0' in text
        assert 'opencost_kusto_lost_windows{dataset="allocation",source="here"} 1.0' in text


def test_metrics_count_what_was_reported() -> None:
    """Batches by outcome, rows, bytes and cost of what landed, lag from the last window, ticks by exit code."""
    health = Health(HOUR, clock=lambda: NOW)
    health.count(one(rows=8, bytes=900, cost=1.5))
    health.count(one(Outcome.EMPTY))
    health.count(one(Outcome.FAILED, exit_code=3, rows=7))
    health.count(one(dataset="runs", rows=3))
    before = health.registry.get_sample_value("opencost_kusto_retries_total")
    refusals = [KustoError("busy", transient=True)] * 2

    def busy() -> None:
        if refusals:
            raise refusals.pop()

    retrying(busy, seconds=60, sleep=lambda _: None)
    health.ticked(TickResult(NOW, 3.0, Report("good")))
    health.ticked(TickResult(NOW, 3.0, error=KustoError("no")))

    def value(name: str, **labels: str) -> float | None:
        return health.registry.get_sample_value(f"opencost_kusto_{name}", labels)

    of = {"source": "here", "dataset": "allocation"}
    assert [value("batches_total", outcome=kind, **of) for kind in (Outcome.LANDED, Outcome.EMPTY, Outcome.FAILED)] == [
        1,
        1,
        1,
    ]
    assert (value("rows_total", **of), value("bytes_total", **of), value("landed_cost", **of)) == (8, 900, 1.5)
    assert value("lag_seconds", **of) == 15 * 60
    assert value("rows_total", source="here", dataset="runs") is None
    assert [value("runs_total", exit_code=code) for code in ("0", "5")] == [1, 1]
    assert value("retries_total") == (before or 0) + 2
    assert (value("run_seconds_count"), value("run_seconds_sum")) == (2, 6)
    assert value("last_success_timestamp_seconds") == NOW.timestamp()


def get(url: str) -> tuple[int, str]:
    """Status and body of a GET on this machine."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_probe_that_hangs_up_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    """A client that resets its connection leaves no traceback, and a slow one is cut off at the deadline."""
    with served(Health(HOUR, clock=lambda: NOW), "127.0.0.1:0", deadline=0.3) as url:
        host, port = url.removeprefix("http://").split(":")
        for _ in range(3):
            with socket.create_connection((host, int(port)), timeout=20) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with socket.create_connection((host, int(port)), timeout=20) as slow:
            closed = False
            while not closed:
                try:
                    slow.sendall(b"G")
                    slow.settimeout(0.1)
                    closed = slow.recv(1) == b""
                except TimeoutError:
                    continue
                except ConnectionError:
                    closed = True
        assert get(f"{url}/healthz") == (200, "ok\n")
    assert capfd.readouterr().err == ""


def test_health_is_served() -> None:
    """The three paths respond over HTTP, and the port is free again afterwards."""
    health = Health(HOUR, clock=lambda: NOW)
    with served(health, "127.0.0.1:0") as url:
        assert get(f"{url}/healthz") == (200, "ok\n")
        sent = urllib.request.Request(f"{url}/healthz", method="HEAD")
        with urllib.request.urlopen(sent, timeout=10) as answer:
            assert (answer.status, answer.headers["Content-Length"], answer.read()) == (200, "3", b"")
        assert get(f"{url}/readyz?verbose=1")[0] == 503
        assert "opencost_kusto_run_seconds_count 0.0" in get(f"{url}/metrics")[1]
        place = url.removeprefix("http://")
        with pytest.raises(UsageError, match="Cannot listen"), served(health, place):
            raise AssertionError
    for listen in ("8080", "127.0.0.1:http", "127.0.0.1:70000"):
        with pytest.raises(UsageError, match=f"Cannot listen on --listen {listen}"), served(health, listen):
            raise AssertionError


@pytest.fixture
def here() -> Iterator[StoreWorld]:
    """A world at this moment, since a process has no other clock."""
    with StoreWorld(datetime.now(UTC)) as one:
        yield one


def command(servers: World, *more: str) -> list[str]:
    """The arguments of `opencost-kusto schedule` against the emulators."""
    place = ["--endpoint", servers.opencost.url, "--kusto-uri", servers.kusto.url, "--database", "OpenCost"]
    sent = ["--auth", "none", "--aggregate", "namespace", "--catch-up", "3h", *more]
    return [sys.executable, "-m", "opencost_kusto", "schedule", *place, *sent]


def environment(folder: Path) -> dict[str, str]:
    """An environment of its own."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)}


def test_once_loads_missing_windows_and_ends(here: StoreWorld, tmp_path: Path) -> None:
    """`--once` lands the closed hours of all datasets and a scrape; the next one has only the scrape to do."""
    # In the first ten minutes of an hour, the last one is not closed yet.
    for expected in ((1, 2), (0, 1)):
        done = subprocess.run(
            command(here, "--once", "-o", "json"),
            **{"cwd": tmp_path, "env": environment(tmp_path), "timeout": 60},  # type: ignore[call-overload]
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        batches = json.loads(done.stdout)["batches"]
        landed = [batch["dataset"] for batch in batches if batch["outcome"] == Outcome.LANDED]
        assert landed.count("allocation") in expected
        assert landed.count("assets") == landed.count("allocation")
        assert "metrics" in {batch["dataset"] for batch in batches}


def read_until(stream: IO[str], pattern: str) -> re.Match[str]:
    """The first line that matches."""
    for line in stream:
        if found := re.search(pattern, line):
            return found
    raise AssertionError(pattern)


def test_a_scheduler_is_healthy_and_ends_at_sigterm(here: StoreWorld, tmp_path: Path) -> None:
    """After its first tick it is ready and counts; at SIGTERM it ends with 0."""
    arguments = command(here, "--listen", "127.0.0.1:0", "--dataset", "allocation")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(arguments, cwd=tmp_path, env=environment(tmp_path), text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            url = read_until(process.stderr, r"Health: (http://\S+)/healthz")[1]
            assert read_until(process.stderr, r"batch(es)? of .* in run .*: \d landed; \d+ rows")
            while get(f"{url}/readyz")[0] != 200:
                continue
            assert get(f"{url}/healthz") == (200, "ok\n")
            assert 'dataset="allocation",outcome="landed"' in get(f"{url}/metrics")[1]
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("once", [(), ("--once",)], ids=["run", "once"])
def test_a_process_gives_up_its_tick_after_the_grace(here: StoreWorld, tmp_path: Path, once: tuple[str, ...]) -> None:
    """An OpenCost that does not respond is waited for as long as the grace; then the exit code is 143."""
    sent, go_on = threading.Event(), threading.Event()

    def slow(path: str, query: object) -> Reply | None:
        del query
        if path != "/allocation":
            return None
        sent.set()
        go_on.wait(30)
        raise CloseConnection

    here.opencost.responder = slow
    arguments = command(here, "--grace", "0.2", "--dataset", "allocation", *once)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(arguments, cwd=tmp_path, env=environment(tmp_path), text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            assert sent.wait(30)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=30)
        finally:
            go_on.set()
            process.kill()
    assert (process.returncode, out) == (143, "")
    assert err.splitlines()[-1].endswith("Terminated during a run; the next run loads the missing windows.")
    assert here.windows() == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--every", "7m"), "do not tile a day"),
        (("--cron", "hourly"), "is no crontab line"),
        (("--catch-up", "30m"), "No closed window lies in the catch-up"),
        (("--listen", "8080"), "Cannot listen on --listen 8080"),
        (("--metadata", "x"), "is not key=value"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(
    here: StoreWorld, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """Exit code 2 and one sentence, before the first tick."""
    done = subprocess.run(
        command(here, *arguments),
        **{"cwd": tmp_path, "env": environment(tmp_path), "timeout": 60},  # type: ignore[call-overload]
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert message in done.stderr
    assert here.store.requested == []


def test_the_store_emulator_keeps_what_it_should() -> None:
    """The store emulator keeps 36 windows of ten minutes, 49 hours and 15 days, and nothing between."""
    store = BuiltInStore(NOW)
    for step, kept in ((10 * MINUTE, 36), (HOUR, 49), (24 * HOUR, 15), (30 * MINUTE, 0)):
        unfinished = NOW - (NOW - datetime(1970, 1, 1, tzinfo=UTC)) % step
        starts = [unfinished - n * step for n in range(60)]
        assert sum(store.has(Window(start, start + step)) for start in starts) == kept
