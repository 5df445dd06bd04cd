"""A search is bound to what its dataset contains, not to its path."""

import json

import pytest
from null_trials import Climber, Evaluation, configuration

from spinet.errors import SpinetError
from spinet.nas.journal import NAME
from spinet.nas.run import run_search
from spinet.workers.executors import InProcess

DIGEST = {"classes": "aa", "images": 8, "files": "bb", "order": "cc", "ids": "dd", "objects": 20, "boxes": "ee"}


def search(run, trials, **settings):
    config = configuration(trials=trials, **settings)
    return run_search(config, run, Climber(), Evaluation(), InProcess(), quiet=True)


def test_the_same_data_may_have_another_path(tmp_path):
    search(tmp_path, 3, data="here", digest=DIGEST)
    assert search(tmp_path, 5, data="/mnt/there", digest=dict(DIGEST)).finished == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": 1600}, "1,600 training images instead of 8"),
        ({"ids": "d0"}, "the image ids of the training images"),
        ({"boxes": "e0"}, "the boxes in the training images"),
    ],
)
def test_other_data_under_the_same_path_are_refused(tmp_path, change, words):
    search(tmp_path, 3, data="here", digest=DIGEST)
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(SpinetError, match=rf"the data of .*journal\.jsonl have changed: {words}; restore them"):
        search(tmp_path, 5, data="here", digest=DIGEST | change)
    assert (tmp_path / NAME).read_bytes() == before


def test_a_journal_older_than_digests_goes_on_where_its_data_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    search(run, 3, data="data")
    header = json.loads((run / NAME).read_text().splitlines()[0])
    assert "digest" not in header
    assert search(run, 4, data="./data", digest=DIGEST).finished == 4
    assert search(run, 5, data=str(tmp_path / "data"), digest=DIGEST).finished == 5
    with pytest.raises(SpinetError, match="was written with data 'data', not 'copy'"):
        search(run, 6, data="copy", digest=DIGEST)


def test_a_digest_that_no_version_wrote_is_no_traceback(tmp_path):
    search(tmp_path, 3, data="here", digest=DIGEST)
    first, *rest = (tmp_path / NAME).read_text().splitlines(keepends=True)
    for nonsense in (7, "many", [], {"images": "many", "boxes": 3}):
        header = json.loads(first) | {"digest": nonsense}
        (tmp_path / NAME).write_text("".join([json.dumps(header) + "\n", *rest]))
        assert search(tmp_path, 3, data="here", digest=DIGEST).finished == 3
