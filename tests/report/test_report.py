import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from journals import HOSTILE, JournalMaker

from spinet.arch.catalog import load_architecture
from spinet.errors import SpinetError
from spinet.nas.encoding import encode
from spinet.nas.journal import Journal
from spinet.nas.state import load_search
from spinet.report.digest import Digest, random_band
from spinet.report.figures import MOST_POINTS, progress, thinned
from spinet.report.fronts import entropy, fronts
from spinet.report.report import write_report
from spinet.report.tables import correlations, failures

SIX_MEGABYTES = 6_000_000


def digest_of(maker, folder):
    return Digest(load_search(maker.write(folder)))


def specs_of(text):
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text)
    return json.loads(found[1]) if found else []


def still_running():
    maker = JournalMaker(2).run(15)
    maker.ask(maker.space.sample(maker.random))
    return maker


STATES = {
    "three trials": (lambda: JournalMaker().run(3), ["progress", "funnel", "front-macs", "front-parameters"]),
    "rungs and failures": (
        lambda: JournalMaker(1).run(90, first=20, failures=0.1, rungs=2),
        ["progress", "funnel", "front-macs", "front-parameters", "rungs-0-1"],
    ),
    "running": (still_running, ["progress", "funnel", "front-macs", "front-parameters"]),
    "all failed": (lambda: JournalMaker(3).run(12, failures=1.0), ["funnel"]),
    "nothing yet": (JournalMaker, []),
}


@pytest.mark.parametrize(("make", "figures"), STATES.values(), ids=STATES)
@pytest.mark.slow
def test_a_search_in_any_state_gives_one_page_that_needs_no_other_file(tmp_path, make, figures):
    run = make().write(tmp_path / "run", torn='{"event":"tell","tri')

    path = write_report(run)

    text = path.read_text()
    assert path == run / "report.html"
    assert path.stat().st_size < SIX_MEGABYTES
    assert [spec["name"] for spec in specs_of(text)] == figures
    assert all(f'id="{name}"' in text for name in figures)
    outside = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|\bsrc=|<link|@import|url\(", outside)


def test_the_page_can_be_written_elsewhere(tmp_path):
    run = JournalMaker().run(2).write(tmp_path / "run")

    assert write_report(run, tmp_path / "deep" / "page.html") == tmp_path / "deep" / "page.html"
    assert (tmp_path / "deep" / "page.html").is_file()
    assert [each.name for each in run.iterdir()] == ["journal.jsonl"]


@pytest.mark.slow
def test_texts_of_the_journal_cannot_become_markup(tmp_path):
    maker = JournalMaker(
        data=HOSTILE,
        strategy={"name": HOSTILE, HOSTILE: HOSTILE},
        proxy={"name": HOSTILE, "rungs": [4], "reward": HOSTILE},
        constraints=[{"measure": HOSTILE, "low": None, "high": HOSTILE}],
    ).run(12)
    maker.events[0]["space"]["name"] = HOSTILE
    maker.events[1]["device"] = HOSTILE
    for reason in ("nan", HOSTILE):
        choices = maker.space.sample(maker.random)
        maker.tell(maker.ask(choices), choices, status=reason, reason=HOSTILE)

    text = write_report(maker.write(tmp_path)).read_text()

    ours = re.sub(r"<script>.*?</script>", "", text, count=1, flags=re.DOTALL)  # plotly.js
    assert "<img" not in ours
    assert "alert('x')</script>" not in ours
    assert "\x1b" not in ours
    labels = json.dumps(specs_of(text))
    assert "<img" not in labels
    assert "<script" not in labels


def test_a_search_whose_every_trial_failed_says_so_first_and_why(tmp_path):
    maker = JournalMaker()
    for _ in range(4):
        choices = maker.space.sample(maker.random)
        maker.tell(maker.ask(choices, random=True), choices, status="build", reason="no such block")

    text = write_report(maker.write(tmp_path)).read_text()

    assert "all 4 trials failed, most often as build (4)" in text
    assert "no such block" in text
    assert "Best trials" not in text


@pytest.mark.slow
def test_a_running_search_is_distinguished_from_a_stopped_one(tmp_path):
    run = still_running().write(tmp_path)

    stopped = write_report(run).read_text()
    with Journal(run):
        running = write_report(run).read_text()

    assert "The search was stopped with 1 open trial" in stopped
    assert "The search was running when this page was written, with 1 open trial" in running
    assert "15</b><span>1 open" in stopped


def test_the_band_comes_from_uniform_draws_only(tmp_path):
    maker = JournalMaker(4).run(60, first=25, failures=0.2)

    digest = digest_of(maker, tmp_path)

    random = [r for r in digest.search.records if r.notes.get("random")]
    assert len(digest.uniform_rewards) == len(random) < 60
    assert sum(reward == float("-inf") for reward in digest.uniform_rewards) == sum(not r.done for r in random) > 0
    assert digest.band.draws == len(random)
    assert digest.band.at[-1] == len(random) == digest.band.normal_at[0]
    assert digest.band.normal_at[-1] == sum(r.rung == 0 for r in digest.search.records)


def test_trials_before_the_first_update_of_a_policy_are_uniform_draws(tmp_path):
    maker = JournalMaker()
    for version in [0] * 11 + [1] * 5:
        choices = maker.space.sample(maker.random)
        maker.tell(maker.ask(choices, version=version, entropy=70.0), choices)

    assert digest_of(maker, tmp_path).band.draws == 11


def test_without_uniform_draws_the_page_says_that_there_is_no_band(tmp_path):
    maker = JournalMaker()
    for _ in range(12):
        choices = maker.space.sample(maker.random)
        maker.tell(maker.ask(choices), choices)

    figure = progress(digest_of(maker, tmp_path))

    assert "there is no band of random search" in figure.read
    assert not [trace for trace in figure.traces if "random" in str(trace.get("name"))]


def test_the_band_of_one_draw_is_the_distribution_itself_and_rises():
    rewards = [k / 100 for k in range(1, 101)]

    band = random_band(rewards, 400)

    assert (band.low[0], band.middle[0], band.high[0]) == (0.05, 0.5, 0.95)
    for edge in (band.low, band.middle, band.high, band.normal):
        assert edge == sorted(edge)
    assert band.at[-1] <= 100 <= band.normal_at[0]


def test_a_thousand_random_searches_agree_with_the_band():
    random = np.random.default_rng(0)
    rewards = random.normal(size=4000)
    best = random.choice(rewards, size=(1000, 30)).max(axis=1)

    band = random_band(rewards.tolist(), 30)

    inside = np.mean((best >= band.low[-1]) & (best <= band.high[-1]))
    assert inside == pytest.approx(0.9, abs=0.04)
    assert band.middle[-1] == pytest.approx(np.median(best), abs=0.1)


def test_many_points_are_thinned_and_the_best_stay(tmp_path):
    graphs = digest_of(JournalMaker().run(60), tmp_path).by_rung[0]

    kept = thinned(graphs, most=20)

    best = sorted(graphs, key=lambda each: -each.reward)[:10]
    assert len(kept) == 20
    assert len({each.graph for each in kept}) == 20
    assert {each.graph for each in best} <= {each.graph for each in kept}
    assert thinned(graphs, most=MOST_POINTS) == graphs


def test_points_show_trial_and_full_scale_costs(tmp_path):
    digest = digest_of(JournalMaker().run(5), tmp_path)

    (points,) = [trace for trace in progress(digest).traces if trace["mode"] == "markers"]

    for (trial, macs, parameters), reward in zip(points["customdata"], points["y"], strict=True):
        record = digest.search.records[trial]
        cost = digest.cost(digest.architecture(record))
        assert reward == pytest.approx(record.reward, abs=1e-5)
        assert macs == pytest.approx(cost.multiply_adds / 1e9, abs=0.01)
        assert parameters == pytest.approx(cost.parameters / 1e6, abs=0.01)


@pytest.mark.slow
def test_the_published_network_is_marked_where_it_was_among_the_trials(tmp_path):
    maker = JournalMaker().run(8)
    known = load_architecture("spinenet49").genotype
    choices = encode(maker.space, known)
    maker.tell(maker.ask(choices), choices)

    digest = digest_of(maker, tmp_path)

    stars = [trace for figure in fronts(digest) for trace in figure.traces if trace["name"] == "spinenet49"]
    assert [star["y"] for star in stars] == [[pytest.approx(digest.search.records[-1].reward, abs=1e-5)]] * 2
    assert "Reward in this search" in write_report(tmp_path).read_text()


def test_latency_gets_a_front_where_it_was_recorded(tmp_path):
    maker = JournalMaker().run(6)
    for event in maker.events:
        if event["event"] == "tell":
            event["metrics"] = event["metrics"] | {"latency_ms": 10.0 + event["trial"]}

    names = [figure.name for figure in fronts(digest_of(maker, tmp_path))]

    assert names == ["front-macs", "front-parameters", "front-latency"]


@pytest.mark.slow
def test_rungs_and_seeds_are_correlated_over_graphs_that_have_both(tmp_path):
    maker = JournalMaker(5).run(20)
    first = [(maker.told[k]["reward"], choices) for k, (_, choices) in enumerate(maker.ranking)]
    for reward, choices in first[:8]:  # the longer training reverses the order exactly
        maker.tell(maker.ask(choices, 1), choices, 1)
        maker.events[-2]["reward"] = 1.0 - reward

    rows = correlations(digest_of(maker, tmp_path))

    table = {row[0]: row[1:] for row in rows}
    assert table["4 epochs \N{RIGHTWARDS ARROW} 16 epochs"][:2] == ["8", "-1.00 [-1.00, -1.00]"]
    assert table["MACs alone \N{RIGHTWARDS ARROW} 4 epochs"][0] == "20"
    assert not any("seed" in label for label in table)  # nothing was trained twice


def test_entropy_is_drawn_where_the_strategy_records_it(tmp_path):
    maker = JournalMaker()
    for place in range(5):
        choices = maker.space.sample(maker.random)
        maker.tell(maker.ask(choices, entropy=70.0 - place, version=place), choices)

    figure = entropy(digest_of(maker, tmp_path / "policy"))

    assert figure.traces[0]["y"] == [70.0, 69.0, 68.0, 67.0, 66.0]
    assert entropy(digest_of(JournalMaker().run(5), tmp_path / "other")) is None


def test_failures_and_repeated_attempts_are_counted_with_their_usual_reason(tmp_path):
    maker = JournalMaker()
    for reason in ("too big", "too big", "still too big"):
        choices = maker.space.sample(maker.random)
        number = maker.ask(choices)
        maker.retry(number, "oom", 1, "first attempt")
        maker.tell(number, choices, status="oom", reason=reason)

    rows = failures(digest_of(maker, tmp_path))

    assert [row[:2] for row in rows] == [["oom", "3"], ["oom, repeated", "3"]]
    assert rows[0][2].startswith("did not fit")
    assert rows[0][3] == "too big"


@pytest.mark.slow
def test_without_plotly_the_error_names_the_extra(tmp_path, monkeypatch):
    run = JournalMaker().run(3).write(tmp_path)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)

    with pytest.raises(SpinetError, match=r"needs plotly, which is not installed: pip install 'spinet\[search\]'"):
        write_report(run)


@pytest.mark.slow
def test_a_browser_draws_every_figure(tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser to draw the page")
    path = write_report(JournalMaker(1).run(90, first=20, failures=0.1, rungs=2).write(tmp_path / "run"))
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=10000", "--dump-dom", path.as_uri()]

    dom = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout

    places = re.findall(r'<div class="plot[^"]*" id="([^"]*)"', dom)
    assert len(places) == len(specs_of(path.read_text())) == 5
    assert dom.count('class="plot-container plotly') == 5
    assert len(re.findall(r'<path class="point ', dom)) >= 100


@pytest.mark.slow
def test_the_same_journal_gives_the_same_page(tmp_path):
    run = JournalMaker(1).run(25).write(tmp_path)

    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_costs_are_those_of_the_full_scale_architecture_at_the_constraints_image_size(tmp_path):
    digest = digest_of(JournalMaker().run(1), tmp_path)

    cost = digest.cost(digest.architecture(digest.search.records[0]))

    assert digest.search.basis.image_size == 640
    assert 70e9 < cost.multiply_adds < 100e9
    assert 20e6 < cost.parameters < 40e6
