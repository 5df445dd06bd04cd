"""Every command in the documents is one that the command line accepts."""

import functools

import pytest
import tyro
from guides import ROOT, commands_of
from shared_runs import detector_run

from spinet.cli import COMMANDS
from spinet.commands.search import VIEWS
from spinet.nas.spaces import SPACES
from spinet.recipes import RECIPES

# What was tried is a record of its time.
DOCUMENTS = ["README", "CONTRIBUTING", *(path.stem for path in (ROOT / "docs").glob("*.md") if path.stem != "log")]
# What "..." and missing arguments stand for in a sentence about an option.
OWN = {
    "train": ["small-cpu", "--data.root", "DIR", "--run", "RUN"],
    "search": ["spinenet49", "--data.root", "DIR", "--run", "RUN"],
    "evaluate": ["RUN"],
    "predict": ["RUN", "image.jpg"],
    "export": ["RUN", "-o", "FILE"],
}
NAMES = {
    "RECIPE": "small-cpu",
    "SPACE": "spinenet49",
    "HEAD": "retinanet",
    "SIZE": "640",
    "published/NAME": "published/bccd-small",
}


class AcceptedError(Exception):
    """The words were understood; nothing is done."""


@pytest.fixture
def accept(monkeypatch, tmp_path, digits):
    """Return a function that parses the words of a command as `spinet` does, and does nothing."""
    parse = tyro.cli

    def parse_only(target, **keywords):
        if isinstance(target, type):
            parse(target, **keywords)
            raise AcceptedError
        if not callable(target):
            raise TypeError(target)

        @functools.wraps(target)
        def reached(*_, **__):
            raise AcceptedError

        parse(reached, **keywords)

    detector_run(tmp_path / "runs" / "other", digits)
    for name in ("boxes", "mine", "nuclei-small", "bccd-small"):
        (tmp_path / "runs" / name).symlink_to("other")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tyro, "cli", parse_only)

    def accepted(words):
        command, *rest = [NAMES.get(word, word) for word in words]
        assert command in COMMANDS
        if command == "search" and len(rest) == 1:  # named, not to be typed
            assert rest[0] in {**VIEWS, **SPACES}
            return
        if command == "train" and rest == ["NAME"]:
            rest = OWN[command]
        if "..." in rest:
            at = rest.index("...")
            rest[at : at + 1] = OWN[command]
        if not rest or rest[-1] == "--help":
            assert len(rest) < 2 or command != "train" or rest[0] in RECIPES
            return
        with pytest.raises(AcceptedError):
            COMMANDS[command](rest)

    return accepted


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_in_a_document_is_accepted(document, accept, capsys):
    for words in commands_of(document):
        if words in (["COMMAND", "--help"], ["--help"]):
            continue
        try:
            accept(words)
        except BaseException as error:  # the parser leaves by SystemExit
            raise AssertionError(f"spinet {' '.join(words)}: {error}\n{capsys.readouterr().err}") from error


@pytest.mark.parametrize(
    "words", ["train smal-cpu --run R", "train small-cpu --run R --epoch 5", "evaluat R", "draw -x"]
)
def test_a_command_that_does_not_exist_is_not_accepted(words, accept):
    with pytest.raises((Exception, SystemExit)):
        accept(words.split())


def test_the_documents_have_commands_for_what_users_do():
    used = {words[0] for document in DOCUMENTS for words in commands_of(document)}
    assert used >= set(COMMANDS) - {"demo"}
