"""The load generator: the traffic it makes, the answers it judges, and what it reports."""

import asyncio
from collections import Counter
from time import monotonic, time
from typing import Any

import pytest

from blingauto_load.clients import Clients
from blingauto_load.generator import Generator
from blingauto_load.judge import Judge
from blingauto_load.records import Answer, Records, percentile, rounded_ms
from blingauto_load.server import render_metrics
from blingauto_load.settings import LoadSettings, SettingsError, read_settings
from blingauto_load.traffic import Traffic, read_of
from conftest import StartApi
from servers import free_port

USER: dict[str, Any] = {
    "id": 1,
    "email": "a@example.com",
    "role": "customer",
    "city": "city-1",
    "revision": 5,
    "updated_at": "2026-01-01T00:00:00Z",
    "bookings_count": 1,
    "lifetime_value": "1.00",
    "city_rank": 1,
    "name": "A",
}
READ = read_of("user", 1)


def traffic(write_percent: float = 2.0, seed: int = 1) -> Traffic:
    return Traffic(users=1_000, services=100, exponent=1.1, write_percent=write_percent, seed=seed)


def test_arrivals_come_at_the_rate_and_with_the_mix_that_was_asked_for() -> None:
    source = traffic()
    gaps = [source.gap_seconds(200) for _ in range(20_000)]
    assert sum(gaps) == pytest.approx(100, rel=0.05)
    kinds = Counter(source.next_request().kind for _ in range(20_000))
    assert (kinds["change"] + kinds["book"]) / 20_000 == pytest.approx(0.02, abs=0.005)
    assert kinds["user"] / 20_000 == pytest.approx(0.49, abs=0.02)


def test_popularity_follows_zipf() -> None:
    source = traffic()
    drawn = Counter(source.users.draw() for _ in range(50_000))
    ranked = source.users.most_popular_first()
    assert len(set(ranked)) == 1_000
    # The first rank is 2^1.1 times as popular as the second.
    assert drawn[ranked[0]] / drawn[ranked[1]] == pytest.approx(2**1.1, rel=0.15)


def test_the_same_seed_makes_the_same_traffic() -> None:
    one, same, other = traffic(seed=1), traffic(seed=1), traffic(seed=2)
    assert [one.next_request() for _ in range(50)] == [same.next_request() for _ in range(50)]
    assert [one.next_request() for _ in range(50)] != [other.next_request() for _ in range(50)]


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        pytest.param(USER, "fine", id="whole"),
        pytest.param({k: v for k, v in USER.items() if k != "role"}, "broken", id="role missing"),
        pytest.param(USER | {"id": 2}, "broken", id="another user"),
        pytest.param(USER | {"revision": "5"}, "broken", id="revision is text"),
        pytest.param({k: v for k, v in USER.items() if k != "name"}, "broken", id="no name at all"),
        pytest.param([], "broken", id="a list"),
        pytest.param(None, "broken", id="not JSON"),
    ],
)
def test_an_answer_is_judged_by_its_fields(body: object, verdict: str) -> None:
    assert Judge(1.5).judge(READ, body, 0, 0) == verdict


def test_v3_says_full_name() -> None:
    body = {k: v for k, v in USER.items() if k != "name"} | {"full_name": "A", "tier": "gold"}
    assert Judge(1.5).judge(READ, body, 0, 0) == "fine"


@pytest.mark.parametrize(
    ("sent_at", "revision", "verdict"),
    [
        pytest.param(9.0, 5, "fine", id="sent before the write was answered"),
        pytest.param(10.5, 5, "just_written", id="sent soon after"),
        pytest.param(11.6, 5, "stale", id="sent long after"),
        pytest.param(11.6, 6, "fine", id="the written revision"),
        pytest.param(11.6, 7, "fine", id="a newer one"),
    ],
)
def test_a_read_has_to_show_what_was_written_before(
    sent_at: float, revision: int, verdict: str
) -> None:
    judge = Judge(stale_after_seconds=1.5)
    write = traffic(write_percent=100).next_request()
    read = read_of("user", write.entity_id)
    answer = {"user_id": write.entity_id, "revision": 6, "booking_id": "x"}
    assert judge.judge(write, answer, 9.9, 10.0) == "fine"
    user = USER | {"id": write.entity_id, "revision": revision}
    assert judge.judge(read, user, sent_at, sent_at + 0.1) == verdict


def test_a_report_covers_what_it_was_asked_for_and_names_the_bad_ones() -> None:
    records = Records()
    records.add(Answer(100.1, "ok", 0.010, "v2", "v1", "a"))
    records.add(Answer(101.2, "http_5xx", 0.020, "v4", "v3", "b"))
    records.add(Answer(101.4, "broken", 0.030, "v4", "v3", "b"))
    records.add(Answer(103.0, "timeout", 2.0))
    report = records.report(since=101, until=110)
    assert (report["requests"], report["errors"], report["broken"]) == (3, 2, 1)
    assert report["errors_by_kind"] == {"http_5xx": 1, "timeout": 1}
    assert report["p95_ms"] == 30.0
    assert report["bad_by_source"]["v4/v3"] == {
        "first_at": 101.2,
        "last_at": 101.4,
        "count": 2,
        "kinds": {"http_5xx": 1, "broken": 1},
        "pods": {"b": 2},
    }
    assert [line["at"] for line in report["seconds"]] == [101, 103]
    assert 'load_requests_total{outcome="ok",source="v2/v1"} 1' in render_metrics(records.totals)


def test_percentiles_are_nearest_ranks() -> None:
    assert percentile(Counter({float(n): 1 for n in range(1, 101)}), 95) == 95.0
    assert percentile(Counter({5.0: 3, 7.0: 1}), 75) == 5.0
    assert percentile(Counter({5.0: 3, 7.0: 1}), 99) == 7.0
    assert percentile(Counter(), 50) is None


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [(0.0, 0.0), (0.00123, 1.3), (0.0013, 1.3), (0.0123, 13.0), (0.5, 500.0), (1.2345, 1240.0)],
)
def test_latencies_are_rounded_up(seconds: float, kept: float) -> None:
    assert rounded_ms(seconds) == kept


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"LOAD_REQUESTS_PER_SECOND": "0"}, "LOAD_REQUESTS_PER_SECOND"),
        ({"LOAD_USERS": "many"}, "LOAD_USERS"),
        ({"LOAD_WRITE_PERCENT": "-1"}, "LOAD_WRITE_PERCENT"),
    ],
)
def test_a_bad_variable_is_named(variables: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_settings(variables)


async def run_load(target: str, **changes: Any) -> tuple[Records, Generator]:
    given = {"duration_seconds": 2.0, "prime_seconds": 0.5, "ramp_seconds": 0.0}
    given["timeout_seconds"] = 10.0  # a busy machine is no fault of the API's
    settings = LoadSettings(target=target, users=100, services=20, **(given | changes))
    source = Traffic(users=100, services=20, exponent=1.1, write_percent=10, seed=1)
    records = Records()
    clients = Clients(
        target,
        Judge(settings.stale_after_seconds),
        count=4,
        connection_seconds=0.3,
        timeout_seconds=settings.timeout_seconds,
        clock=monotonic,
        wall=time,
    )
    generator = Generator(settings, source, clients, records, clock=monotonic, wall=time)
    await generator.run()
    await clients.close()
    return records, generator


async def test_users_of_two_sound_replicas_see_nothing_bad(start_api: StartApi) -> None:
    one, other = await start_api(), await start_api()
    started_at = time()
    results = await asyncio.gather(
        *(run_load(api.base, requests_per_second=50.0) for api in (one, other))
    )
    for records, generator in results:
        report = records.report(started_at, time())
        assert generator.phase == "done"
        assert report["requests"] == pytest.approx(100, abs=40)
        assert (report["errors"], report["broken"], report["stale"]) == (0, 0, 0), report


async def test_users_of_a_failing_release_are_counted(start_api: StartApi) -> None:
    api = await start_api(release="v4-errors", pod="bad-pod")
    started_at = time()
    records, _ = await run_load(api.base, requests_per_second=100.0)
    report = records.report(started_at, time())
    assert report["errors_by_kind"].keys() == {"http_5xx"}
    assert report["bad_by_source"]["v4-errors/v1"]["pods"].keys() == {"bad-pod"}


async def test_arrivals_do_not_wait_for_answers() -> None:
    """A target that never answers: the loop stays open, and every user is told of a timeout."""
    connections: list[asyncio.StreamWriter] = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.read()

    port = free_port()
    server = await asyncio.start_server(hang, "127.0.0.1", port)
    records = Records()
    clients = Clients(
        f"http://127.0.0.1:{port}",
        Judge(1.5),
        count=4,
        connection_seconds=5.0,
        timeout_seconds=0.5,
        clock=monotonic,
        wall=time,
    )
    settings = LoadSettings(
        requests_per_second=100.0, duration_seconds=1.0, ramp_seconds=0.0, max_in_flight=20
    )
    generator = Generator(settings, traffic(), clients, records, clock=monotonic, wall=time)
    started_at = monotonic()
    await generator.send_arrivals()
    # One after another, 60 answers of half a second would take 30 s.
    assert monotonic() - started_at < 10
    outcomes = Counter(outcome for outcome, _ in records.totals.elements())
    assert sum(outcomes.values()) > 60
    assert outcomes["timeout"] >= 20
    assert outcomes["not_sent"] > 0
    await clients.close()
    for writer in connections:
        writer.close()
    server.close()
    await server.wait_closed()
