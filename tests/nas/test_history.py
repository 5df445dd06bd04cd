import json

import pytest
from journals import JournalMaker

from spinet.errors import SpinetError
from spinet.nas.history import load_history
from spinet.nas.status import status_text, summary


def test_a_journal_comes_back_as_one_record_a_trial(tmp_path):
    run = JournalMaker().run(60, failures=0.3, rungs=2).write(tmp_path)

    history = load_history(run)

    told = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    tells = {event["trial"]: event for event in told if event["event"] == "tell"}
    assert [record.number for record in history.records] == list(range(60))
    assert [(r.status, r.reward, r.reason) for r in history.records] == [
        (tells[number]["status"], tells[number]["reward"], tells[number]["reason"]) for number in range(60)
    ]
    assert sum(record.seconds for record in history.records) == pytest.approx(
        sum(event["seconds"] for event in told if event["event"] == "time")
    )
    assert history.space.name == "spinenet49"
    assert history.rungs == [0, 1]


@pytest.mark.parametrize("torn", ['{"event":"te', '{"event":"ask","trial":3}', "\x00\x00"])
def test_a_torn_last_line_is_passed_over(tmp_path, torn):
    run = JournalMaker().run(3).write(tmp_path, torn=torn)

    assert len(load_history(run).records) == 3


def test_trials_that_are_under_way_have_no_status(tmp_path):
    maker = JournalMaker().run(2)
    maker.ask(maker.space.sample(maker.random))

    records = load_history(maker.write(tmp_path)).records

    assert [record.status for record in records] == ["done", "done", None]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("not json\n", "line 3 is damaged: it is not JSON"),
        ("[1]\n", "line 3 is damaged: it is none of the events"),
        ('{"event": "tell", "trial": 7, "status": "done", "reward": 1.0}\n', "line 3 .*trial 7 was never asked"),
        ('{"event": "tell", "trial": 0}\n', "line 3 .*trial 0 was never asked"),
        ('{"event": "dance", "trial": 0}\n', "line 3 is damaged: it is none of the events"),
        ('{"event": "ask", "trial": 5}\n', "line 3 .*trial 5 follows 0 trials"),
        ('{"event": "ask", "trial": 0}\n', "line 3 .*'choices'"),
    ],
)
def test_a_damaged_line_in_the_middle_is_named(tmp_path, line, why):
    run = JournalMaker().write(tmp_path)
    with (run / "journal.jsonl").open("a") as file:
        file.write(line)

    with pytest.raises(SpinetError, match=why):
        load_history(run)


def test_a_folder_without_a_journal_is_named(tmp_path):
    with pytest.raises(SpinetError, match="could not read the journal .*: No such file"):
        load_history(tmp_path / "nowhere")


def test_an_empty_journal_says_that_nothing_began(tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"event":"sea')

    with pytest.raises(SpinetError, match="is empty: the search has not begun"):
        load_history(tmp_path)


def test_only_measured_trials_count_and_replicates_count_together(tmp_path):
    maker = JournalMaker()
    choices, other = (maker.space.sample(maker.random) for _ in range(2))
    number = maker.ask(choices)
    maker.tell(number, choices)
    again = maker.ask(choices)
    maker.events[-1] |= {"duplicate_of": None, "replicate": 1}
    maker.tell(again, choices)
    copy = maker.ask(choices)
    maker.tell(copy, choices)
    failed = maker.ask(other)
    maker.tell(failed, other, status="nan", reason="the loss is not finite")

    history = load_history(maker.write(tmp_path))

    (summary,) = history.done(0)
    assert [trial.number for trial in summary.trials] == [0, 1]
    assert summary.reward == pytest.approx(sum(history.records[k].reward for k in (0, 1)) / 2)


def test_the_best_are_of_the_highest_rung_first_and_each_graph_once(tmp_path):
    maker = JournalMaker().run(80, rungs=2)

    best = load_history(maker.write(tmp_path)).best(200)

    assert [each.rung for each in best] == sorted((each.rung for each in best), reverse=True)
    assert {each.rung for each in best} == {0, 1}
    assert len({each.graph for each in best}) == len(best)
    for rung in (0, 1):
        rewards = [each.reward for each in best if each.rung == rung]
        assert rewards == sorted(rewards, reverse=True)


def test_time_between_sessions_does_not_count_as_elapsed(tmp_path):
    maker = JournalMaker().run(4)
    maker.clock = maker.clock.replace(year=2027)
    maker.session()
    maker.run(4)

    history = load_history(maker.write(tmp_path))

    # Two workers: the maker's clock goes on by half of each trial's seconds.
    assert history.elapsed == pytest.approx(sum(record.seconds for record in history.records) / 2)
    assert len(history.sessions) == 2


def test_costs_are_those_of_the_full_scale_architecture_at_the_constraints_image_size(tmp_path):
    history = load_history(JournalMaker().run(1).write(tmp_path))

    cost = history.cost(history.architecture(history.records[0]))

    assert history.image_size == 640
    assert 70e9 < cost.multiply_adds < 100e9
    assert 20e6 < cost.parameters < 40e6


@pytest.mark.parametrize("key", ["space", "strategy", "proxy", "constraints"])
@pytest.mark.parametrize("look", [load_history, summary])
def test_a_first_line_without_what_it_must_hold_is_named(tmp_path, key, look):
    maker = JournalMaker().run(2)
    del maker.events[0][key]
    with pytest.raises(SpinetError, match=f"line 1 is damaged: its event search has no {key}"):
        look(maker.write(tmp_path))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("search", {"space": []}),
        ("search", {"space": {}}),
        ("search", {"strategy": "evolution"}),
        ("search", {"constraints": [{"image_size": "640"}]}),
        ("session", {"started": 5}),
        ("ask", {"rung": "0"}),
        ("ask", {"choices": 7}),
        ("ask", {"graph": []}),
        ("ask", {"draws": "1"}),
        ("ask", {"trial": True}),
        ("ask", {"notes": []}),
        ("tell", {"reward": "0.5"}),
        ("tell", {"metrics": [1]}),
        ("time", {"seconds": "1"}),
        ("time", {"ended": 1}),
    ],
)
@pytest.mark.parametrize("look", [load_history, summary])
def test_a_value_of_a_wrong_type_is_one_sentence_with_its_line(tmp_path, kind, change, look):
    maker = JournalMaker().run(2)
    line = next(number for number, event in enumerate(maker.events) if event["event"] == kind)
    maker.events[line] |= change
    with pytest.raises(SpinetError, match=f"line {line + 1} is damaged"):
        look(maker.write(tmp_path))


def test_the_status_counts_the_trials_of_each_rung(tmp_path):
    maker = JournalMaker(1).run(60, rungs=2)
    found = summary(maker.write(tmp_path))
    assert sum(found["by_rung"].values()) == found["trained"]
    assert found["by_rung"]["1"] > 0
    assert f"{found['by_rung']['1']} at rung 1" in status_text(found)
