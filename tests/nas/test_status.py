import json

import pytest
from null_trials import Climber, Evaluation, configuration

from spinet.errors import SpinetError
from spinet.nas.constraints import Constraint
from spinet.nas.journal import NAME
from spinet.nas.run import run_search
from spinet.nas.status import status_text, summary
from spinet.workers.executors import InProcess


def test_the_summary_agrees_with_the_search(tmp_path):
    window = Constraint("macs", 0, 20e9, head="none")
    config = configuration(trials=40, constraints=(window,), proxy={"name": "null"})
    result = run_search(config, tmp_path, Climber(), Evaluation(nan=0.1, oom=0.1), InProcess(), quiet=True)

    found = summary(tmp_path)
    asks = [json.loads(line) for line in (tmp_path / NAME).read_text().splitlines() if '"ask"' in line]
    duplicates = [ask for ask in asks if ask["duplicate_of"] is not None]
    assert (found["asked"], found["told"], found["open"]) == (40, 40, [])
    assert (found["duplicates"], found["trained"]) == (len(duplicates), 40 - len(duplicates))
    assert found["failures"]["nan"] == found["trained"] - found["done"]
    assert found["best"] == {"trial": result.best_trial.number, "rung": 0, "reward": result.best_reward}
    assert found["acceptance"] == 40 / sum(ask["draws"] for ask in asks)
    assert found["seconds"] == pytest.approx(0.5 * found["done"], abs=0.5)
    assert not found["running"]
    json.dumps(found)

    text = status_text(found)
    for words in (
        "space small, strategy climber, proxy null",
        "40 trials finished",
        f"trial {result.best_trial.number}",
        "nan",
    ):
        assert words in text


def test_a_running_search_with_a_half_written_line_can_be_summarized(tmp_path):
    seen = []

    def look(genotype, *, rung, seed, accumulate):
        seen.append(summary(tmp_path))
        return {"reward": 0.5}

    run_search(configuration(trials=2), tmp_path, Climber(), look, InProcess(), quiet=True)
    assert seen[0]["running"]
    assert (seen[0]["asked"], seen[0]["told"], seen[0]["open"], seen[0]["best"]) == (1, 0, [0], None)
    assert "running, 1 open trials" in status_text(seen[0])
    with (tmp_path / NAME).open("a") as file:
        file.write('{"event":"te')
    assert summary(tmp_path)["told"] == 2


def test_a_run_that_has_not_begun_is_one_sentence(tmp_path):
    with pytest.raises(SpinetError, match="could not read the journal"):
        summary(tmp_path)
    (tmp_path / NAME).write_text("")
    with pytest.raises(SpinetError, match="is empty: the search has not begun"):
        summary(tmp_path)
