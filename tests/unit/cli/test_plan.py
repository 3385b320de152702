"""The command around the plan: flags, files and the cluster in; a table, JSON and drawings out."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from cacherollout.adapters.kube.client import Client
from cacherollout.api.ledger import Counters
from cacherollout.api.names import Key
from cacherollout.cli import plan_sightings
from cacherollout.cli.plan_inputs import Inputs
from cacherollout.cli.plan_plots import WIDTH, html, svg
from cacherollout.cli.plan_sightings import before_the_release, between, take
from cacherollout.cli.plan_views import shortened, spark, view
from cacherollout.core.facts import Measurement, Observed, PodMeasurement
from cacherollout.core.plan.comparisons import compare
from cacherollout.core.plan.courses import Course, Event, Sample
from cacherollout.core.plan.stores import Flow
from cacherollout.core.readiness import CacheStock, FamilyStock, Seen, Unseen
from tests import factories
from tests.unit.cli.conftest import SPEC, FakeClient, a_deployment, a_rollout, call, put
from tests.unit.core.plan.scenes import scene

COURSES = cache(lambda: compare(scene()))
"""Computed once: whoever looks at drawings and tables changes nothing."""
QUICK = ("--lookups", "500", "--hit-rate", "90%", "--ttl", "30s", "--soak", "40s")


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def as_json(*arguments: str, code: int = 0) -> dict[str, Any]:
    ran = call("plan", *arguments, "-o", "json")
    assert ran.exit_code == code, ran.output
    found: dict[str, Any] = json.loads(ran.output)
    return found


def test_flags_alone_are_enough() -> None:
    ran = call("plan", *QUICK)
    assert ran.exit_code == 0
    lines = ran.output.splitlines()
    assert "500 lookups/s, 90.0 % of them hits, 50 origin reads/s" in lines[0]
    assert any(line.startswith("operator, as set (copy)") for line in lines)
    assert any(line.startswith("all at once") for line in lines)
    assert max(len(line) for line in lines) <= 100


def test_machines_get_every_second_of_every_way() -> None:
    said = as_json(*QUICK)
    assert said["load"]["hitRate"] == pytest.approx(0.9, abs=0.001)
    assert said["budget"] == 1.5
    assert len(said["ways"]) == 7
    for way in said["ways"]:
        series = way["series"]
        assert len(series["originRatio"]) == len(series["share"]) == len(series["hitRate"])
        assert way["peak1s"] == pytest.approx(max(series["originRatio"]), abs=1e-3)
        assert way["peak10s"] <= way["peak1s"]


def test_a_release_that_would_be_given_up_says_so() -> None:
    flags = ("--warm", "None", "--budget", "1.05", "--deadline", "60s")
    ran = call("plan", *QUICK, *flags)
    assert ran.exit_code == 1
    assert "given up" in ran.output
    assert as_json(*QUICK, *flags, code=1)["ways"][0]["promotedAtSeconds"] is None


def test_settings_are_written_as_in_the_resource() -> None:
    said = as_json(*QUICK, "--canary", "2", "--most", "30%", "--budget", "3")
    assert said["budget"] == 3
    shares = said["ways"][0]["series"]["share"]
    assert min(share for share in shares if share > 0) == pytest.approx(2 / 12, abs=1e-3)


def a_file(directory: Path, *documents: Any) -> str:
    path = directory / "shop.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return str(path)


LOAD = {"load": {"lookupsPerSecond": 300, "hitRate": "80%", "replicas": 4}}
BACKEND = {
    "kind": "CacheBackend",
    "spec": {
        "redis": {"address": "redis:6379"},
        "keyPrefixes": ["user:"],
        "limits": {"keysPerSecond": 77},
    },
}


def test_files_describe_all_of_it_and_flags_go_over_them(tmp_path: Path) -> None:
    rollout = {"kind": "CacheRollout", "metadata": {"name": "shop"}, "spec": SPEC}
    deployment = {
        "kind": "Deployment",
        "spec": {
            "replicas": 7,
            "strategy": {"rollingUpdate": {"maxSurge": "30%", "maxUnavailable": 0}},
        },
    }
    path = a_file(tmp_path, rollout, LOAD, deployment, BACKEND)
    inputs = Inputs()
    inputs.read(Path(path))
    found = inputs.scene()
    assert (inputs.name, found.lookups, found.limits.keys_per_second) == ("shop", 300, 77)
    assert (found.shape.replicas, found.shape.surge, found.shape.unavailable) == (7, 3, 0)
    said = as_json(
        "-f", path, "--lookups", "400", "--keys", "5000", "--ttl", "30s", "--soak", "40s"
    )
    assert said["load"]["lookupsPerSecond"] == 400
    assert said["load"]["families"][0]["keys"] == 5000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "load.lookupsPerSecond: is missing; write --lookups"),
        (("--lookups", "100"), "load.hitRate: is missing; write --hit-rate"),
        (("--lookups", "100", "--hit-rate", "high"), "load.hitRate: 'high' is not a percentage"),
        (
            ("--lookups", "-1", "--hit-rate", "90%"),
            "load.lookupsPerSecond: Input should be greater",
        ),
        (("--lookups", "100", "--hit-rate", "100%"), "--hit-rate: family all: no number of keys"),
        ((*QUICK, "--budget", "1"), "spec.originLoad.budget: Input should be greater"),
        ((*QUICK, "--soak", "soon"), "spec.soak: 'soon' is not a duration"),
        ((*QUICK, "--ttl", "2s"), "--ttl: family all lives 2 s"),
        ((*QUICK, "--canary", "0%"), "spec.canary.replicas"),
    ],
)
def test_what_is_wrong_is_refused_with_the_fix(arguments: tuple[str, ...], said: str) -> None:
    ran = call("plan", *arguments)
    assert ran.exit_code == 2
    assert said in ran.output


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"load": {"lookupsPerSecond": 1, "hitrate": "9%"}}, "load.hitrate: Extra inputs"),
        ({"kind": "Service", "spec": {}}, "write a CacheRollout, a CacheBackend, a Deployment"),
        ({"kind": "Deployment"}, "the Deployment has no spec"),
        ({"kind": "CacheBackend", "spec": {}}, "spec.redis: Field required"),
        ([1], "write a CacheRollout"),
        (
            {"load": {**LOAD["load"], "shares": {"nobody": 1}}},
            "load.shares: must name every family",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, document: Any, said: str) -> None:
    ran = call("plan", "-f", a_file(tmp_path, document))
    assert (ran.exit_code, said in ran.output) == (2, True), ran.output


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a: [")
    assert "is not YAML" in call("plan", "-f", str(tmp_path / "x")).output


def test_shares_divide_the_traffic(tmp_path: Path) -> None:
    families = [
        {"name": "user", "key": "user:{version}:{id}"},
        {"name": "list", "key": "list:{version}:{id}", "ttl": "1m"},
    ]
    spec = {**SPEC, "cache": {**SPEC["cache"], "families": families}}
    load = {"load": {**LOAD["load"], "shares": {"user": 3, "list": 1}}}
    inputs = Inputs()
    inputs.read(Path(a_file(tmp_path, {"kind": "CacheRollout", "spec": spec}, load)))
    found = {each.name: each for each in inputs.scene().populations}
    assert (found["user"].lookups, found["list"].lookups) == (225, 75)
    assert (found["user"].ttl, found["list"].ttl) == (300, 60)


# --- what a cluster shows ------------------------------------------------------------------------


def measured(at: float, **lookups: float) -> Measurement:
    pods = tuple(
        PodMeasurement(uid, Counters(lookups=count, misses=count / 10))
        for uid, count in lookups.items()
    )
    return Measurement(at, pods)


def test_traffic_is_what_lies_between_two_measurements() -> None:
    found = between(measured(10, a=1000, b=2000), measured(15, a=1500, b=2500))
    assert found == {"lookupsPerSecond": 200, "hitRate": pytest.approx(0.9)}
    # A pod that was counted once serves like the others; one that began anew counts from zero.
    assert between(measured(10, a=1000), measured(15, a=500, b=9))["lookupsPerSecond"] == 200
    assert between(measured(10, a=5), measured(15, a=5)) == {}


def test_during_a_release_traffic_is_as_before_it() -> None:
    attempt = factories.on_trial(
        baseline_origin=100.0,
        stable_traffic=factories.traffic(lookups=800, misses=100, origin=50),
        canary_traffic=factories.traffic(lookups=200, misses=100, origin=50),
    )
    assert before_the_release(attempt) == {"lookupsPerSecond": 1000, "hitRate": 0.8}


def seen(**changes: Any) -> Seen:
    stock = CacheStock(
        (FamilyStock("user", keys=6000, bytes=3_000_000, longest_ttl_seconds=300.0),),
        used_bytes=4_000_000,
        limit_bytes=100_000_000,
    )
    facts: dict[str, Any] = {
        "spec": factories.SPEC,
        "ledger": factories.ledger(),
        "is_acted_upon": True,
        "stall": "",
        "observed": Observed("u", "api", 1, target=factories.target()),
        "prefixes": ("user:",),
        "cache": stock,
        "measurements": (measured(10, a=0.0), measured(15, a=1000.0)),
    }
    return Seen(**{**facts, **changes})


def test_a_cluster_shows_traffic_keys_and_memory() -> None:
    inputs = Inputs()
    take(inputs, seen())
    assert inputs.load == {
        "lookupsPerSecond": 200,
        "hitRate": pytest.approx(0.9),
        "usedBytes": 4_000_000,
        "limitBytes": 100_000_000,
        "keyBytes": 500,
        "shares": {"user": 20},
    }
    assert inputs.fingerprints == factories.STABLE.fingerprints
    assert inputs.notes == []


def test_what_does_not_fit_together_is_said() -> None:
    few = CacheStock((FamilyStock("user", keys=1000, bytes=9, longest_ttl_seconds=600.0),))
    inputs = Inputs()
    take(inputs, seen(cache=few))
    ttl, keys = inputs.notes
    assert "family user declares a ttl of 5m, but keys live up to 600 s" in ttl
    assert "mean 6,000 keys, but the cache holds 1,000" in keys


def test_what_was_not_seen_is_left_to_flags() -> None:
    inputs = Inputs()
    take(inputs, seen(cache=Unseen("no answer"), measurements=Unseen("nobody answers")))
    assert inputs.load == {}
    assert ["nobody answers" in inputs.notes[0], "no answer" in inputs.notes[1]] == [True, True]


def given(monkeypatch: pytest.MonkeyPatch, found: Seen | None) -> None:
    async def look(client: Client, key: Key, *, is_inside: bool) -> Seen | None:
        assert key == Key("shop", "api")
        return found

    async def get_backend(self: Any, namespace: str, name: str) -> Any:
        return BACKEND

    monkeypatch.setattr(plan_sightings, "look", look)
    monkeypatch.setattr(plan_sightings.KubeObjects, "get_backend", get_backend)


def test_a_rollout_of_the_cluster(server: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    put(server, a_rollout(), a_deployment())
    given(monkeypatch, seen())
    said = as_json("api", "-n", "shop", "--ttl", "30s", "--soak", "40s")
    assert said["load"]["lookupsPerSecond"] == 200
    assert said["load"]["replicas"] == 2
    assert server.is_closed


def test_without_traffic_the_reason_is_said(
    server: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(server, a_rollout(), a_deployment())
    given(monkeypatch, seen(measurements=Unseen("nobody answers")))
    ran = call("plan", "api", "-n", "shop")
    assert ran.exit_code == 2
    assert "nobody answers" in ran.output


def test_a_rollout_that_is_not_there(server: FakeClient) -> None:
    ran = call("plan", "nope", "-n", "shop")
    assert (ran.exit_code, "There is no CacheRollout nope" in ran.output) == (2, True)


# --- what people see -----------------------------------------------------------------------------


def test_the_table_fits_a_terminal_and_every_way_is_whole() -> None:
    courses = compare(scene(warm="Replay"))
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        console.print(view("shop", scene(), courses, ["a note"]))
    text = captured.get()
    assert "…" not in text
    assert "a note" in text
    assert all(course.name in text for course in courses)


def test_a_long_timeline_draws_admissions_together() -> None:
    steps = [Event(16.0 * n, f"{n} canary pods may take traffic.") for n in range(2, 30)]
    events = [Event(0, "Warming: so"), *steps, Event(900, "Promoting: so")]
    short = shortened(events)
    assert [event.text.split()[0] for event in short] == ["Warming:", "29", "Promoting:"]
    assert "(28 such steps since 0:32)" in short[1].text
    assert shortened(events[:5]) == events[:5]


def test_bars_show_the_highest_of_each_stretch() -> None:
    assert spark([0.0, 1.0], 0.0, 1.0) == "▁█"
    assert spark([*[0.0] * 499, 1.0], 0.0, 1.0) == "▁" * 49 + "█"


def test_the_drawing_is_within_its_frame_and_shows_every_way(tmp_path: Path) -> None:
    courses = COURSES()
    root = ET.fromstring(svg("shop <api>", courses))  # noqa: S314  # our own text
    ns = "{http://www.w3.org/2000/svg}"
    height = float(root.attrib["viewBox"].split()[3])
    lines = root.findall(f"{ns}polyline")
    assert len(lines) == 3 * len(courses)  # load, share, legend
    for line in lines:
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= height
    texts = [text.text or "" for text in root.findall(f"{ns}text")]
    assert any("shop <api>" in text for text in texts)
    assert all(any(course.name in text for text in texts) for course in courses)
    assert {"1×", "2×", "budget 2×", "0 %", "100 %", "0:00"} <= set(texts)


def test_no_peak_is_lost_where_there_are_more_seconds_than_points() -> None:
    """A single second of 8× in an hour, on an axis whose top is 16×, an octave from 0.5× each."""
    loads = [1.0] * 3600
    loads[1801] = 8.0
    samples = tuple(Sample(0.0, Flow(100.0, 10 * load), 0.0) for load in loads)
    root = ET.fromstring(svg("", [Course("any", 10.0, samples)]))  # noqa: S314  # our own text
    line = root.findall("{http://www.w3.org/2000/svg}polyline")[0]
    points = line.attrib["points"].split()
    assert len(points) <= WIDTH
    heights = [float(point.split(",")[1]) for point in points]
    octave = (max(heights) - min(heights)) / 3
    assert heights.count(min(heights)) == 1
    texts = {
        text.text: float(text.attrib["y"])
        for text in root.findall("{http://www.w3.org/2000/svg}text")
    }
    assert texts["1×"] - texts["2×"] == pytest.approx(octave, abs=0.2)


def test_a_way_that_takes_for_ever_does_not_squeeze_the_others() -> None:
    short, long = (
        Course("any", 10.0, (Sample(0.0, Flow(100.0, 10.0), 0.0),) * seconds)
        for seconds in (300, 36_000)
    )
    root = ET.fromstring(svg("", [short, long]))  # noqa: S314  # our own text
    texts = [text.text for text in root.findall("{http://www.w3.org/2000/svg}text")]
    assert "10:00" in texts
    assert "20:00" not in texts
    for line in root.findall("{http://www.w3.org/2000/svg}polyline"):
        assert all(float(each.split(",")[0]) <= WIDTH for each in line.attrib["points"].split())


def test_drawings_are_written(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("plan.svg", "plan.html")]
    assert call("plan", *QUICK, "--svg", paths[0], "--html", paths[1]).exit_code == 0
    assert Path(paths[0]).read_text().startswith("<svg")
    page = Path(paths[1]).read_text()
    assert page.startswith("<!doctype html>")
    assert len(re.findall("<tr>", page)) > 10
    ran = call("plan", *QUICK, "--svg", str(tmp_path / "no" / "plan.svg"))
    assert (ran.exit_code, "cannot be written" in ran.output) == (1, True)


def test_a_page_names_nothing_unescaped() -> None:
    courses = [replace(course, name="<b>") for course in COURSES()]
    assert "<b>" not in html("<b>", courses)
