from spinet.hub import progress
from spinet.hub.progress import shown


def test_without_a_terminal_progress_is_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with shown("weights") as report:
        report(500_000, 2_000_000)
        report(700_000, None)
    assert capsys.readouterr().err == "spinet: weights: 0.5 MB of 2.0 MB (25%)\nspinet: weights: 0.7 MB\n"
    monkeypatch.setattr(progress, "EVERY", 1000.0)
    with shown("weights") as report:
        report(500_000, 2_000_000)
    assert capsys.readouterr() == ("", "")
