import json

import pytest
from journals import JournalMaker

from spinet.errors import SpinetError
from spinet.nas.state import load_search
from spinet.nas.status import status_text, summary


def test_a_journal_is_read_as_one_record_per_trial(tmp_path):
    run = JournalMaker().run(60, failures=0.3, rungs=2).write(tmp_path)

    search = load_search(run)

    told = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    tells = {event["trial"]: event for event in told if event["event"] == "tell"}
    assert [record.number for record in search.records] == list(range(60))
    assert [(r.status, r.reward, r.reason) for r in search.records] == [
        (tells[number]["status"], tells[number]["reward"], tells[number]["reason"]) for number in range(60)
    ]
    assert sum(record.seconds for record in search.records) == pytest.approx(
        sum(event["seconds"] for event in told if event["event"] == "time")
    )
    assert search.space.name == "spinenet49"
    assert {record.rung for record in search.records} == {0, 1}


@pytest.mark.parametrize("torn", ['{"event":"te', '{"event":"ask","trial":3}', "\x00\x00"])
def test_a_torn_last_line_is_ignored(tmp_path, torn):
    run = JournalMaker().run(3).write(tmp_path, torn=torn)

    assert len(load_search(run).records) == 3


def test_open_trials_have_no_status(tmp_path):
    maker = JournalMaker().run(2)
    maker.ask(maker.space.sample(maker.random))

    records = load_search(maker.write(tmp_path)).records

    assert [record.status for record in records] == ["done", "done", None]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("not json\n", "line 3 is corrupt: it is not JSON"),
        ("[1]\n", "line 3 is corrupt: its event must be one of"),
        ('{"event": "tell", "trial": 7, "status": "done", "reward": 1.0}\n', "line 3 .*trial 7 was never asked"),
        ('{"event": "tell", "trial": 0}\n', "line 3 .*missing required field `status`"),
        ('{"event": "dance", "trial": 0}\n', "line 3 is corrupt: its event must be one of"),
        (
            '{"event": "ask", "trial": 5, "choices": [1], "graph": "a", "rung": 0, "replicate": 0}\n',
            "line 3 .*trial 5 follows 0 trials",
        ),
        ('{"event": "ask", "trial": 0}\n', "line 3 .*missing required field `choices`"),
    ],
)
def test_a_corrupt_line_in_the_middle_is_named(tmp_path, line, why):
    run = JournalMaker().write(tmp_path)
    with (run / "journal.jsonl").open("a") as file:
        file.write(line)

    with pytest.raises(SpinetError, match=why):
        load_search(run)


def test_a_folder_without_a_journal_is_named(tmp_path):
    with pytest.raises(SpinetError, match="could not read the journal .*: No such file"):
        load_search(tmp_path / "nowhere")


def test_an_empty_journal_is_one_sentence(tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"event":"sea')

    with pytest.raises(SpinetError, match="is empty: the search has not begun"):
        load_search(tmp_path)


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

    search = load_search(maker.write(tmp_path))

    (summary,) = search.measured(0)
    assert [trial.number for trial in summary.trials] == [0, 1]
    assert summary.reward == pytest.approx(sum(search.records[k].reward for k in (0, 1)) / 2)


def test_the_best_are_of_the_highest_rung_first_and_each_graph_once(tmp_path):
    maker = JournalMaker().run(80, rungs=2)

    best = load_search(maker.write(tmp_path)).leaders(200)

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

    search = load_search(maker.write(tmp_path))

    # Two workers: the maker's clock goes on by half of each trial's seconds.
    assert search.elapsed == pytest.approx(sum(record.seconds for record in search.records) / 2)
    assert len(search.sessions) == 2


@pytest.mark.parametrize("key", ["space", "strategy", "proxy", "constraints"])
@pytest.mark.parametrize("look", [load_search, summary])
def test_a_first_line_without_what_it_must_hold_is_named(tmp_path, key, look):
    maker = JournalMaker().run(2)
    del maker.events[0][key]
    with pytest.raises(
        SpinetError, match=f"line 1 is corrupt: its event search is not valid: .*missing required field `{key}`"
    ):
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
@pytest.mark.parametrize("look", [load_search, summary])
def test_a_value_of_a_wrong_type_is_one_sentence_with_its_line(tmp_path, kind, change, look):
    maker = JournalMaker().run(2)
    line = next(number for number, event in enumerate(maker.events) if event["event"] == kind)
    maker.events[line] |= change
    with pytest.raises(SpinetError, match=f"line {line + 1} is corrupt"):
        look(maker.write(tmp_path))


def test_the_status_counts_the_trials_of_each_rung(tmp_path):
    maker = JournalMaker(1).run(60, rungs=2)
    found = summary(maker.write(tmp_path))
    assert sum(found["by_rung"].values()) == found["trained"]
    assert found["by_rung"]["1"] > 0
    assert f"{found['by_rung']['1']} at rung 1" in status_text(found)


def test_the_run_of_a_training_is_told_from_a_search(tmp_path):
    (tmp_path / "config.json").write_text("{}")

    with pytest.raises(SpinetError, match="is the run of a training, not of a search"):
        load_search(tmp_path)
