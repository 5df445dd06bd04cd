"""The loop, in process: what it makes of outcomes, failures, duplicates, constraints and interruptions."""

import json
import os
import signal
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
from null_trials import (
    SMALL,
    STEM,
    TINY,
    Climber,
    Evaluation,
    Raises,
    RandomDraws,
    configuration,
    events,
    number,
    reproducible,
)

from spinet.arch.catalog import Architecture, load_architecture
from spinet.errors import BuildError, NotFinite, OutOfMemory, SpinetError, TrialTimeout, WorkerLost
from spinet.nas.constraints import Constraint
from spinet.nas.driver import Driver
from spinet.nas.journal import Journal
from spinet.nas.progress import _Running
from spinet.nas.run import run_search
from spinet.nas.space import Space
from spinet.nas.state import load_search
from spinet.nas.trial import Proposal, trial_seed
from spinet.workers.executors import InProcess

FEW = Space("few", STEM, (2, 3), (3, 4), offsets=(0, 1))


def searched(run, strategy=None, evaluate=None, *, timeout=None, **settings):
    config = configuration(**settings)
    strategy = strategy or Climber(config.space)
    evaluate = evaluate or Evaluation()
    return run_search(config, run, strategy, evaluate, InProcess(timeout), quiet=True)


def test_every_trial_has_one_ask_and_one_tell_in_order(tmp_path):
    result = searched(tmp_path)
    assert (result.finished, result.ended) == (30, "finished")
    lines = events(tmp_path, "ask", "tell")
    assert [event["event"] for event in lines] == ["ask", "tell"] * 30
    assert [event["trial"] for event in lines[::2]] == list(range(30))
    assert [event["trial"] for event in lines[1::2]] == list(range(30))
    first = events(tmp_path)[:2]
    assert [event["event"] for event in first] == ["search", "session"]
    assert set(first[1]) == {"event", "started", "workers", "executor", "device", "spinet"}


def test_times_and_non_finite_numbers_stay_out_of_the_metrics(tmp_path):
    searched(tmp_path, trials=1)
    tell, clock = events(tmp_path, "tell", "time")
    assert tell == {
        "event": "tell",
        "trial": 0,
        "status": "done",
        "reward": tell["reward"],
        "metrics": {"accumulate": 1},
    }
    assert set(clock) == {"event", "trial", "seconds", "worker", "ended"}
    assert clock["seconds"] == 0.5


def test_the_seed_of_a_trial_is_that_of_its_graph(tmp_path):
    searched(tmp_path, RandomDraws(), seed=3)
    for ask in events(tmp_path, "ask"):
        original = ask["duplicate_of"]
        assert ask["seed"] == trial_seed(3, ask["graph"], 0, 0)
        told = next(each for each in events(tmp_path, "tell") if each["trial"] == ask["trial"])
        assert told["reward"] == number(ask["seed"])
        assert original is None or original < ask["trial"]


def test_the_same_search_writes_the_same_lines_and_another_seed_others(tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        searched(tmp_path / name, seed=seed, evaluate=Evaluation(nan=0.1, oom=0.1))
    assert reproducible(tmp_path / "one") == reproducible(tmp_path / "two")
    assert reproducible(tmp_path / "one")[1] != reproducible(tmp_path / "three")[1]


def test_a_search_in_two_halves_writes_the_same_lines_as_one(tmp_path):
    searched(tmp_path / "one")
    whole = Climber()
    searched(tmp_path / "whole", whole)
    searched(tmp_path / "halves", trials=11)
    again = Climber()
    searched(tmp_path / "halves", again)
    assert reproducible(tmp_path / "halves") == reproducible(tmp_path / "whole")
    assert again.told == whole.told
    assert len(events(tmp_path / "halves", "session")) == 2


@pytest.mark.slow
def test_cut_off_anywhere_a_search_writes_the_same_lines_as_an_uninterrupted_one(tmp_path):
    failing = Evaluation(nan=0.1, oom=0.2)
    searched(tmp_path / "whole", evaluate=failing, trials=10, space=FEW)
    journal = (tmp_path / "whole" / "journal.jsonl").read_bytes()
    assert b'"retry"' in journal
    assert b'"status":"nan"' in journal
    cuts = [0, 1, len(journal) - 1]
    for line in range(journal.count(b"\n")):
        end = len(b"\n".join(journal.split(b"\n")[: line + 1])) + 1
        cuts += [end, end + 7] if line % 2 else [end]
    for cut in cuts:
        run = tmp_path / str(cut)
        run.mkdir()
        (run / "journal.jsonl").write_bytes(journal[:cut])
        searched(run, evaluate=failing, trials=10, space=FEW)
        assert reproducible(run) == reproducible(tmp_path / "whole"), cut


def test_an_open_trial_is_trained_again_with_the_same_seed_and_finished_ones_never(tmp_path):
    log = tmp_path / "log"
    run = tmp_path / "run"
    searched(run, evaluate=Evaluation(str(log)), trials=8)
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    last = max(place for place, line in enumerate(lines) if b'"ask"' in line and b'"duplicate_of":null' in line)
    (run / "journal.jsonl").write_bytes(b"".join(lines[: last + 1]) + b'{"event":"te')
    searched(run, evaluate=Evaluation(str(log)), trials=8)
    begun = [line.split()[1] for line in log.read_text().splitlines() if line.startswith("begin")]
    assert {seed for seed in begun if begun.count(seed) > 1} == {str(json.loads(lines[last])["seed"])}
    assert sorted(line for line in lines if b'"ask"' in line) == sorted(
        line for line in (run / "journal.jsonl").read_bytes().splitlines(keepends=True) if b'"ask"' in line
    )


def test_best_json_is_an_architecture_that_names_its_source(tmp_path):
    result = searched(tmp_path, proxy={"name": "null"})
    best = load_architecture(tmp_path / "best.json")
    rewards = {event["trial"]: event["reward"] for event in events(tmp_path, "tell")}
    assert result.best_reward == max(rewards.values())
    ask = events(tmp_path, "ask")[result.best_trial.number]
    assert best.genotype == SMALL.decode(tuple(ask["choices"]))
    assert best.scaling == SMALL.scaling
    for word in ("small", f"trial {result.best_trial.number}", f"{result.best_reward:g}", "null"):
        assert word in best.source


def test_best_json_is_written_again_where_a_kill_left_none(tmp_path):
    searched(tmp_path)
    before = (tmp_path / "best.json").read_bytes()
    (tmp_path / "best.json").unlink()
    searched(tmp_path)
    assert (tmp_path / "best.json").read_bytes() == before


@pytest.mark.slow
def test_with_replicates_the_best_is_that_of_the_highest_mean(tmp_path):
    differs = 0
    for seed in range(16):
        run = tmp_path / str(seed)
        result = searched(run, RandomDraws(TINY), space=TINY, trials=20, replicates=3, seed=seed)
        asks, rewards = events(run, "ask"), {}
        told = {tell["trial"]: tell["reward"] for tell in events(run, "tell")}
        for ask in asks:
            if ask["duplicate_of"] is None:
                rewards.setdefault(ask["graph"], []).append(told[ask["trial"]])
        means = {graph: sum(each) / len(each) for graph, each in rewards.items()}
        assert result.best_reward == pytest.approx(max(means.values()))
        assert means[asks[result.best_trial.number]["graph"]] == max(means.values())
        assert load_architecture(run / "best.json").genotype == TINY.decode(result.best_trial.choices)
        differs += max(rewards, key=lambda graph: max(rewards[graph])) != max(means, key=means.get)
    assert differs


class Promoting(RandomDraws):
    """Proposes every second trial's graph again, at rung 1."""

    def __init__(self):
        super().__init__()
        self.last = None

    def ask(self, random):
        return Proposal(self.last, rung=1) if self.last else super().ask(random)

    def asked(self, trial):
        self.last = trial.choices if trial.rung == 0 else None


def test_a_higher_rung_beats_a_higher_reward_and_promotions_bypass_constraints(tmp_path):
    constraint = Constraint("macs", 0, 20e9, head="none")
    result = searched(tmp_path, Promoting(), constraints=(constraint,), trials=10)
    assert result.best_trial.rung == 1
    asks = events(tmp_path, "ask")
    assert [ask["rung"] for ask in asks] == [0, 1] * 5
    assert asks[0]["graph"] == asks[1]["graph"]
    assert asks[0]["seed"] != asks[1]["seed"]
    assert all(ask["draws"] == 0 for ask in asks if ask["rung"])


# Duplicates


def test_a_duplicate_takes_over_the_outcome_and_is_not_trained(tmp_path):
    log = tmp_path / "log"
    strategy = Climber(TINY)
    searched(tmp_path, strategy, Evaluation(str(log)), space=TINY, trials=12)
    asks, tells = events(tmp_path, "ask"), events(tmp_path, "tell")
    assert len({ask["graph"] for ask in asks}) == 2
    assert len(log.read_text().splitlines()) == 4  # two trainings
    for ask, tell in zip(asks, tells, strict=True):
        if ask["duplicate_of"] is not None:
            original = tells[ask["duplicate_of"]]
            assert {**tell, "trial": None} == {**original, "trial": None}
    assert len([line for line in strategy.told if line[0] != "asked"]) == 12  # the strategy hears of all
    assert len(events(tmp_path, "time")) == 2


def test_permuted_encodings_of_one_graph_are_duplicates(tmp_path):
    searched(tmp_path, RandomDraws(FEW), space=FEW, trials=100)
    asks = events(tmp_path, "ask")
    twins = [ask for ask in asks if ask["duplicate_of"] is not None]
    assert any(ask["choices"] != asks[ask["duplicate_of"]]["choices"] for ask in twins)
    assert len({ask["graph"] for ask in asks}) == len(asks) - len(twins)


def test_with_replicates_a_graph_is_trained_so_often_each_time_with_another_seed(tmp_path):
    searched(tmp_path, RandomDraws(TINY), space=TINY, trials=20, replicates=3)
    trained = [ask for ask in events(tmp_path, "ask") if ask["duplicate_of"] is None]
    assert len(trained) == 6
    assert sorted((ask["graph"], ask["replicate"]) for ask in trained) == sorted(
        (graph, replicate) for graph in {ask["graph"] for ask in trained} for replicate in range(3)
    )
    assert len({ask["seed"] for ask in trained}) == 6


def test_a_strategy_that_avoids_duplicates_is_asked_again_but_not_forever(tmp_path):
    strategy = RandomDraws(TINY)
    strategy.avoid_duplicates = True
    searched(tmp_path, strategy, space=TINY, trials=5)
    originals = [ask["duplicate_of"] for ask in events(tmp_path, "ask")]
    assert originals[:2] == [None, None]
    assert None not in originals[2:]


def test_a_duplicate_that_waited_when_the_search_was_killed_gets_the_outcome_of_its_original(tmp_path):
    searched(tmp_path / "whole", RandomDraws(TINY), space=TINY, trials=8)
    header, session, *rest = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    asks = [line for line in rest if b'"ask"' in line]
    first_twin = next(place for place, line in enumerate(asks) if b'"duplicate_of":0' in line)
    (tmp_path / "journal.jsonl").write_bytes(b"".join([header, session, *asks[: first_twin + 1]]))
    searched(tmp_path, RandomDraws(TINY), space=TINY, trials=8)
    whole = {tell["trial"]: tell for tell in events(tmp_path / "whole", "tell")}
    assert {tell["trial"]: tell for tell in events(tmp_path, "tell")} == whole


def test_more_workers_ask_for_no_more_than_they_can_train(tmp_path):
    class Two(InProcess):
        workers = 2

    run_search(configuration(trials=7), tmp_path, Climber(), Evaluation(), Two(), quiet=True)
    under_way, most = 0, 0
    for event in events(tmp_path, "ask", "tell"):
        under_way += 1 if event["event"] == "ask" else -1
        most = max(most, under_way)
    assert most == 2


def opened(run, journal, strategy, **settings):
    driver = Driver(configuration(space=TINY, **settings), run, journal, strategy)
    driver.start(2, "none", "cpu")
    return driver


def test_a_duplicate_that_waits_takes_no_worker(tmp_path):
    waited = 0
    for seed in range(6):
        with Journal(tmp_path / str(seed)) as journal:
            driver = opened(tmp_path / str(seed), journal, RandomDraws(TINY), seed=seed, trials=100)
            first, second = driver.next(2), driver.next(2)
            assert first.graph != second.graph
            assert driver.next(2) is None
            waited += len(driver.state.open) - 2
    assert waited


def test_no_more_than_ten_duplicates_wait_for_each_worker(tmp_path):
    class Same(RandomDraws):
        def ask(self, random):
            return super().ask(Random(0))

    with Journal(tmp_path) as journal:
        driver = opened(tmp_path, journal, Same(TINY), trials=100)
        assert driver.next(2)
        assert driver.next(2) is None
        assert len(driver.state.open) == 1 + 20


# What is shown


def test_lines_show_the_progress(tmp_path, capsys):
    window = Constraint("macs", 0, 20e9, head="none")
    config = configuration(trials=40, constraints=(window,))
    run_search(config, tmp_path, RandomDraws(), Evaluation(nan=0.1), InProcess())
    last = capsys.readouterr().out.splitlines()[-1]
    for words in ("40/40 trials", "best reward 0.", "failed", "% of draws", "trials/h", "ETA 0:00:00"):
        assert words in last


def test_the_reason_of_a_failure_is_shown_once(tmp_path, capsys):
    strategy = RandomDraws()
    run_search(configuration(trials=4), tmp_path, strategy, Raises(BuildError, "no such block"), InProcess())
    assert capsys.readouterr().out.count("a trial failed: build: no such block") == 1


def test_a_terminal_gets_a_bar(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    run_search(configuration(trials=5), tmp_path, RandomDraws(), Evaluation(), InProcess())
    shown = capsys.readouterr().out
    assert "5/5" in shown
    assert "best reward 0." in shown


def test_the_bar_shows_how_long_the_oldest_running_trial_has_taken(tmp_path):
    run_search(configuration(trials=4), tmp_path, RandomDraws(), Evaluation(), InProcess(), quiet=True)
    state, column = load_search(tmp_path), _Running()
    assert column.render(None).plain == ""
    state.open = {8: None, 9: None}
    column.since = {1: time.monotonic() - 500, 8: time.monotonic() - 7200, 9: time.monotonic()}
    column.follow(state)
    assert column.render(None).plain == "2 trials running, 2.0 h of about 0 s"


# Constraints


def test_proposals_are_drawn_until_the_constraints_accept_and_the_draws_are_counted(tmp_path):
    window = Constraint("macs", 0, 20e9, head="none")
    searched(tmp_path, RandomDraws(), constraints=(window,), trials=40)
    asks = events(tmp_path, "ask")
    assert max(ask["draws"] for ask in asks) > 1
    for ask in asks:
        assert window.accepts(window.value(Architecture(SMALL.decode(tuple(ask["choices"])), SMALL.scaling)))


def test_constraints_that_accept_nothing_say_the_rate_and_the_nearest_value(tmp_path, monkeypatch):
    monkeypatch.setattr("spinet.nas.driver.MAX_DRAWS", 200)
    windows = (Constraint("macs", 1e12, 2e12), Constraint("parameters", 0, 1e9))
    with pytest.raises(
        SpinetError, match=r"rejected all of 200 draws: macs from 1e\+12 .* accepted 0 of them"
    ) as error:
        searched(tmp_path, RandomDraws(), constraints=windows)
    assert "the nearest other value was" in str(error.value)
    assert "parameters from 0 to 1e+09 parameters at 640 px accepted 200 of them (100.00%)" in str(error.value)


# Other searches


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"space": replace(SMALL, name="other")}, "space 'small', not 'other'"),
        ({"space": replace(SMALL, window=4)}, "space 'small' with window 5, not 4"),
        ({"strategy": {"name": "random"}}, "strategy 'climber', not 'random'"),
        ({"strategy": {"name": "climber", "steps": 2}}, "strategy 'climber' with steps None, not 2"),
        ({"proxy": {"name": "tiny"}}, "proxy None, not {'name': 'tiny'}"),
        ({"seed": 7}, "seed 0, not 7"),
        ({"data": "photos"}, "data None, not 'photos'"),
        ({"replicates": 2}, "replicates 1, not 2"),
        (
            {"constraints": (Constraint("macs", 1, 2),)},
            "constraints none, not macs from 1 to 2 multiply-adds at 640 px:",
        ),
    ],
)
def test_a_journal_of_another_search_is_rejected_by_name(tmp_path, settings, words):
    searched(tmp_path, trials=2)
    before = (tmp_path / "journal.jsonl").read_bytes()
    with pytest.raises(SpinetError, match="was written with") as error:
        run_search(configuration(**settings), tmp_path, RandomDraws(), Evaluation(), InProcess(), quiet=True)
    assert words in str(error.value)
    assert (tmp_path / "journal.jsonl").read_bytes() == before


def test_an_event_that_does_not_fit_is_named_by_its_line(tmp_path):
    searched(tmp_path, trials=2)
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    tell = next(place for place, line in enumerate(lines) if b'"tell"' in line)
    (tmp_path / "journal.jsonl").write_bytes(b"".join([*lines[: tell + 1], *lines[tell:]]))
    with pytest.raises(
        SpinetError,
        match=rf"journal\.jsonl, line {tell + 2} is corrupt: its event tell .*: trial 0 has an outcome already",
    ):
        searched(tmp_path)


def test_a_run_has_one_driver_at_a_time(tmp_path):
    def second(genotype, *, rung, seed, accumulate):
        with pytest.raises(SpinetError, match="another search is writing"):
            searched(tmp_path)
        return {"reward": 1.0}

    assert searched(tmp_path, evaluate=second, trials=1).best_reward == 1.0


# Failures


def test_a_diverged_training_gets_the_worst_reward_without_a_retry(tmp_path):
    searched(tmp_path, evaluate=Evaluation(nan=0.15), trials=40)
    tells = events(tmp_path, "tell")
    after = [tell["status"] for tell in tells].index("done")
    diverged = [tell for tell in tells[after:] if tell["status"] == "nan"]
    assert diverged
    for tell in diverged:
        assert tell["reward"] == 0.0
        assert "is nan" in tell["reason"]
    assert not events(tmp_path, "retry")


def test_where_rewards_are_negative_the_worst_is_that_of_the_trials_done_before_and_none_while_there_are_none(tmp_path):
    @dataclass(frozen=True)
    class Losses:
        def __call__(self, genotype, *, rung, seed, accumulate):
            return {"reward": float("nan") if seed % 3 == 0 else -number(seed)}

    for seed in range(8):
        searched(tmp_path / str(seed), RandomDraws(), Losses(), trials=6, seed=seed)
    before, after = 0, 0
    for seed in range(8):
        done = []
        for tell in events(tmp_path / str(seed), "tell"):
            if tell["status"] == "done":
                done.append(tell["reward"])
            elif done:
                assert tell["reward"] == min(done)
                after += 1
            else:
                assert tell["reward"] is None
                before += 1
    assert before
    assert after


def test_out_of_memory_is_retried_in_more_parts_and_the_journal_keeps_their_number_after_a_kill(tmp_path):
    searched(tmp_path, evaluate=Evaluation(oom=0.2), trials=20)
    retries = events(tmp_path, "retry")
    assert retries
    trial = retries[0]["trial"]
    assert [(each["attempt"], each["status"]) for each in retries if each["trial"] == trial] == [(1, "oom"), (2, "oom")]
    tell = next(each for each in events(tmp_path, "tell") if each["trial"] == trial)
    assert tell["status"] == "done"
    assert tell["metrics"]["accumulate"] == 4
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    second = [place for place, line in enumerate(lines) if b'"retry"' in line][1]
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "journal.jsonl").write_bytes(b"".join(lines[: second + 1]))
    searched(tmp_path / "cut", evaluate=Evaluation(oom=0.2), trials=20)
    assert reproducible(tmp_path / "cut") == reproducible(tmp_path)


@pytest.mark.parametrize(
    ("error", "status", "retries"),
    [(OutOfMemory, "oom", 3), (MemoryError, "oom", 3), (WorkerLost, "lost", 2), (TrialTimeout, "timeout", 0)],
)
def test_failures_are_retried_a_few_times_and_then_final(tmp_path, error, status, retries):
    searched(tmp_path, evaluate=Raises(error), trials=1)
    assert [each["attempt"] for each in events(tmp_path, "retry")] == list(range(1, retries + 1))
    (tell,) = events(tmp_path, "tell")
    assert (tell["status"], tell["reward"]) == (status, None)
    assert tell["reason"]


def test_a_trial_that_takes_too_long_times_out(tmp_path):
    searched(tmp_path, evaluate=Evaluation(seconds=30), timeout=0.05, trials=2)
    assert [tell["status"] for tell in events(tmp_path, "tell")] == ["timeout"] * 2
    assert events(tmp_path, "tell")[0]["reason"] == "the trial took longer than 0.05 s"


def test_five_identical_build_errors_abort_the_search(tmp_path):
    with pytest.raises(SpinetError, match="search aborted: 5 trials could not be built: no such block"):
        searched(tmp_path, RandomDraws(), Raises(BuildError, "no such\nblock"))
    assert len(events(tmp_path, "tell")) == 5


def test_an_error_not_caused_by_the_trial_ends_the_search_and_fails_no_trial(tmp_path):
    with pytest.raises(SpinetError, match="^there is no folder photos$"):
        searched(tmp_path, evaluate=Raises(SpinetError, "there is no folder photos"))
    assert not events(tmp_path, "tell", "retry")
    searched(tmp_path)
    searched(tmp_path / "whole")
    assert reproducible(tmp_path) == reproducible(tmp_path / "whole")


def test_results_that_came_at_the_same_time_as_such_an_error_are_kept(tmp_path):
    class Two(InProcess):
        workers = 2

    calls = []

    def second_is_done(genotype, *, rung, seed, accumulate):
        calls.append(seed)
        if len(calls) == 1:
            raise SpinetError("there is no folder photos")
        return {"reward": 0.5}

    with pytest.raises(SpinetError, match="photos"):
        run_search(configuration(), tmp_path, RandomDraws(), second_is_done, Two(), quiet=True)
    assert [tell["trial"] for tell in events(tmp_path, "tell")] == [1]


def test_more_than_twenty_failures_among_a_hundred_abort_the_search_and_a_restart_resumes(tmp_path):
    with pytest.raises(SpinetError, match=r"21 of the last 21 trials failed, most often: 21 times nan \(no\)"):
        searched(tmp_path, RandomDraws(), Raises(NotFinite), trials=150)
    assert searched(tmp_path, RandomDraws(), trials=150).finished == 150


@pytest.mark.slow
def test_one_failure_in_five_does_not_stop_the_search(tmp_path):
    class Fifth(Evaluation):
        count = 0

        def __call__(self, genotype, *, rung, seed, accumulate):
            Fifth.count += 1
            if Fifth.count % 5 == 0:
                raise NotFinite("no")
            return {"reward": 0.0}

    strategy = RandomDraws()
    assert searched(tmp_path, strategy, Fifth(), trials=300, replicates=300).finished == 300


def test_an_unexpected_error_is_raised_as_it_is_and_the_search_can_be_resumed(tmp_path):
    with pytest.raises(KeyError, match="bug"):
        searched(tmp_path, evaluate=Raises(KeyError, "bug"))
    searched(tmp_path)
    searched(tmp_path / "whole")
    assert reproducible(tmp_path) == reproducible(tmp_path / "whole")


@dataclass
class Signalled:
    """A signal comes in the middle of the fifth evaluation, which would take ten minutes."""

    number: int
    begun: int = 0

    def __call__(self, genotype, **settings):
        self.begun += 1
        if self.begun == 5:
            threading.Timer(0.1, os.kill, (os.getpid(), self.number)).start()
            time.sleep(600)
        return Evaluation()(genotype, **settings)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_search_at_once_and_the_trial_is_repeated(tmp_path, number):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    result = searched(tmp_path, evaluate=Signalled(number), trials=100_000)
    assert result.ended == "interrupted"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    told = len(events(tmp_path, "tell"))
    assert result.finished == told == 4
    assert searched(tmp_path, trials=told + 20).finished == told + 20
    searched(tmp_path / "whole", trials=told + 20)
    assert reproducible(tmp_path) == reproducible(tmp_path / "whole")


class Stopping(RandomDraws):
    """A signal comes while it is asked for the fiftieth time."""

    count = 0

    def ask(self, random):
        self.count += 1
        if self.count == 50:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().ask(random)


def test_a_signal_ends_a_search_of_duplicates_only_and_the_last_one_was_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("spinet.nas.progress._LINE_SECONDS", 0.0)
    result = run_search(configuration(TINY, trials=200), tmp_path, Stopping(TINY), Evaluation(), InProcess())
    assert (result.ended, result.finished) == ("interrupted", 50)
    assert "49/200 trials" in capsys.readouterr().out


def test_a_signal_ends_a_search_whose_draws_are_all_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr("spinet.nas.driver.MAX_DRAWS", 200)
    result = searched(tmp_path, Stopping(), constraints=(Constraint("macs", 1e12, 2e12),))
    assert (result.ended, result.finished) == ("interrupted", 0)
    assert not events(tmp_path, "ask")


def test_a_start_without_trials_leaves_the_run_folder_free_for_other_settings(tmp_path, monkeypatch):
    monkeypatch.setattr("spinet.nas.driver.MAX_DRAWS", 20)
    with pytest.raises(SpinetError, match="rejected all of 20 draws"):
        searched(tmp_path / "run", RandomDraws(), constraints=(Constraint("macs", 1e12, 2e12),))
    searched(tmp_path / "run", seed=5)
    searched(tmp_path / "whole", seed=5)
    assert reproducible(tmp_path / "run") == reproducible(tmp_path / "whole")
    assert len(events(tmp_path / "run", "session")) == 1


def test_constraints_that_differ_in_what_their_text_leaves_out_are_distinguished(tmp_path):
    window = Constraint("macs", 0, 20e9, head="none")
    searched(tmp_path, RandomDraws(), constraints=(window,), trials=1)
    with pytest.raises(SpinetError, match=r"the constraint macs from 0 to 2e\+10 .* with head 'none', not 'retinanet'"):
        searched(tmp_path, RandomDraws(), constraints=(replace(window, head="retinanet"),), trials=1)


def test_a_full_disk_ends_the_search_with_a_sentence(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "journal.jsonl").symlink_to("/dev/full")
    with pytest.raises(SpinetError, match="could not write the journal .*: No space left on device"):
        searched(tmp_path)
