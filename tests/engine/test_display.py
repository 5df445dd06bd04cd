"""What a training shows while it runs, in a terminal and in a log."""

import io
import math

import pytest
from rich.console import Console

from spinet.engine.display import SILENCE, Clock, Display


class Now:
    """A clock that is set by hand."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


def values(loss=1.0, speed=8.0, memory=1.5):
    return {
        "epoch": 0.5, "loss": loss, "loss/class": loss / 4, "loss/box": loss * 3 / 4, "lr": 0.01,
        "images_per_second": speed, "memory_gib": memory,
    }  # fmt: skip


def display(terminal, now, first=0, **options):
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=100, highlight=False, soft_wrap=True)
    return Display(40, first, 10, score="AP", console=console, now=now, **options), file


def test_a_log_has_one_line_per_epoch_with_the_mean_loss():
    now = Now()
    shown, file = display(False, now)
    for step in range(5, 41, 5):
        now.seconds += 5
        shown.update(step, values(loss=float(step)))

    lines = file.getvalue().splitlines()
    assert [line.split("  loss")[0] for line in lines] == [
        "epoch 1/4  step 5/40", "epoch 1/4  step 10/40", "epoch 2/4  step 20/40", "epoch 3/4  step 30/40",
        "epoch 4/4  step 40/40",
    ]  # fmt: skip
    assert "loss 17.500 (class 4.375, box 13.125)  lr 1.00e-02  8.0 images/s  1.5 GiB  20 s left" in lines[2]


def test_a_line_without_a_step_changes_no_mean():
    # A run that stopped between a step and its line writes the line when it resumes.
    shown, file = display(False, Now(), first=5)
    shown.update(5, values(loss=3.0, speed=0.0))
    shown.update(10, values(loss=1.0))

    first, second = file.getvalue().splitlines()
    assert "loss 3.000" in first
    assert "images/s" not in first
    assert "loss 1.000" in second
    assert "8.0 images/s" in second


def test_a_long_epoch_has_lines_in_between():
    now = Now()
    shown, file = display(False, now)
    for step in range(1, 10):
        shown.update(step, values())
        now.seconds += SILENCE / 3 + 1

    assert len(file.getvalue().splitlines()) == 3


def test_a_long_evaluation_says_how_far_it_is():
    now = Now()
    shown, file = display(False, now)
    shown.update(10, values())
    for done in range(1, 9):
        now.seconds += SILENCE / 3 + 1
        shown.evaluating(done, 8)

    assert [line for line in file.getvalue().splitlines() if "evaluating" in line] == [
        "evaluating 3/8",
        "evaluating 6/8",
    ]


def test_a_terminal_shows_epoch_parts_best_memory_and_the_time_left():
    now = Now()
    shown, file = display(True, now, best=0.25)
    now.seconds = 20
    shown.update(10, values())
    shown._bar.refresh()
    text = file.getvalue()
    shown.evaluating(3, 8)
    shown._bar.refresh()
    shown.close()

    for part in ("epoch 1/4", "step 10/40", "60 s left", "loss 1.000 (class 0.250, box 0.750)", "lr 1.00e-02",
                 "8.0 images/s", "1.5 GiB", "best AP 0.250"):  # fmt: skip
        assert part in text
    assert "evaluating 3/8" in file.getvalue()


@pytest.mark.parametrize(("score", "best"), [(0.5, "best so far"), (0.1, "best AP 0.250"), (math.nan, "best so far")])
def test_an_evaluation_says_whether_it_is_the_best(score, best):
    shown, file = display(False, Now(), best=0.25)
    shown.evaluated(20, {"AP": score}, ("AP",), 3.0)

    assert file.getvalue() == f"step 20/40  val: AP {score:.3f}  ({best}, 3 s)\n"


def test_the_time_left_counts_steps_and_evaluations_apart():
    now = Now()
    clock = Clock(40, 10, every=10, now=now)
    assert math.isnan(clock.left(10))
    now.seconds = 10
    assert clock.left(20) == 20
    now.seconds = 17
    clock.evaluated(7)

    # Twenty steps of a second, and the evaluations at steps 30 and 40.
    assert clock.left(20) == 20 + 2 * 7
    assert clock.left(40) == 0
