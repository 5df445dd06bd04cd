"""The page of a training or a search while it goes on, made anew whenever its folder has changed."""

import json
from contextlib import suppress
from pathlib import Path
from threading import Lock

from spinet.analysis.records import DetectionRecord, load_record
from spinet.draw.page import render_page
from spinet.engine.first_batch import PICTURE
from spinet.engine.record import RECORD
from spinet.engine.run_folder import LOCK, is_running
from spinet.engine.sessions import SESSIONS
from spinet.errors import SpinetError
from spinet.nas.state import load_search
from spinet.report.classes import ClassFindings
from spinet.report.curves import curve_panels
from spinet.report.detections import Findings
from spinet.report.digest import Digest
from spinet.report.first_look import ABOUT, ABOUT_CLASSES, batch_picture, label_panels
from spinet.report.panels import decimal
from spinet.report.pictures import Picture, mistake_pictures, worst_images, worst_pictures
from spinet.report.report import render
from spinet.report.run_status import JOURNAL, RunStatus, status_of
from spinet.report.training import grouped, render_training, settings_of
from spinet.report.training_run import BEST, CONFIG, METRICS, RunLines, open_training, read_progress
from spinet.text import duration

# What a page depends on, in the run folder.
FILES = (CONFIG, METRICS, BEST, RECORD, SESSIONS, PICTURE, LOCK, JOURNAL)
PICTURES = 8
Fact = tuple[str, str, str]


class LivePage:
    """The page of a run folder, made once for each of its states.

    Args:
        run: folder of a training or a search.
        root: the dataset folder of a training, if it has moved.

    Raises:
        SpinetError: there is no such run, or no such dataset folder.
    """

    def __init__(self, run: Path, root: str | None = None) -> None:
        self.run, self._root = run, root
        self._is_search = (run / JOURNAL).is_file()
        if root is not None and not Path(root).is_dir():
            raise SpinetError(f"--data.root {root} is no folder; it must be that of the dataset")
        if not self._is_search:
            read_progress(run)
        self._lock, self._made = Lock(), ("", "")
        self._pictures: tuple[int, list[Picture]] = (-1, [])

    def tag(self) -> str:
        """Return what changes whenever the page does."""
        # A killed training leaves all files as they are.
        facts: list[object] = [is_running(self.run)]
        for name in FILES:
            with suppress(OSError):
                found = (self.run / name).stat()
                facts.append((name, found.st_mtime_ns, found.st_size))
        return f"{hash(tuple(facts)) & 0xFFFFFFFFFFFF:012x}"

    def html(self) -> tuple[str, str]:
        """Return the tag and the page, which asks for itself again when the tag has changed.

        Raises:
            SpinetError: the folder is gone, or a file is corrupt.
        """
        with self._lock:
            tag = self.tag()
            if self._made[0] != tag:
                self._made = (tag, _refreshing(self._render(), tag))
            return self._made

    def _render(self) -> str:
        if self._is_search:
            return render(Digest(load_search(self.run)), self.run)
        lines = read_progress(self.run)
        status = status_of(self.run)
        if status.state != "running" and (self.run / BEST).is_file():
            return render_training(open_training(self.run, self._root))
        panels = [*curve_panels(lines), *label_panels(self.run)]
        pictures = self._val_pictures(lines)
        is_classes = lines.config.model.head == "classifier"
        return render_page(
            "spinet.report",
            "live.html.j2",
            title=f"Training {lines.name}",
            model=status.what,
            facts=_facts(status, lines),
            notices=_notices(status, lines),
            groups=grouped(panels),
            first_batch=batch_picture(self.run),
            first_batch_about=ABOUT_CLASSES if is_classes else ABOUT,
            pictures=pictures,
            pictures_step=f"{self._pictures[0]:,}",
            settings=settings_of(lines.config),
        )

    def _val_pictures(self, lines: RunLines) -> list[Picture]:
        """Return the worst val images of the best evaluation so far, drawn once for each."""
        root = Path(self._root or lines.config.data.root)
        if not (self.run / RECORD).is_file() or not root.exists():
            return []
        record = load_record(self.run / RECORD)
        if self._pictures[0] == record.step:
            return self._pictures[1]
        if isinstance(record, DetectionRecord):
            made = worst_pictures(record, worst_images(Findings(record).confusion[1], PICTURES), root)
        else:
            made = mistake_pictures(record, ClassFindings(record).mistakes[:PICTURES], root)
        self._pictures = (record.step, made)
        return made


def sorry(error: Exception, tag: str) -> str:
    """Return a page for a moment at which the folder cannot be shown; it asks again."""
    page = render_page("spinet.report", "sorry.html.j2", title="Nothing to show", said=str(error))
    return _refreshing(page, tag)


def _refreshing(page: str, tag: str) -> str:
    script = (Path(__file__).parent / "templates" / "live.js").read_text(encoding="utf-8")
    filled = script.replace('"TAG"', json.dumps(tag))
    page = page.replace("</head>", '<link rel="icon" href="data:,">\n</head>')  # or the browser asks for one
    return page.replace("</body>", f"<script>{filled}</script>\n</body>")


def _facts(status: RunStatus, lines: RunLines) -> list[Fact]:
    speed = next((line["images_per_second"] for line in lines.losses[::-1] if "images_per_second" in line), None)
    left = "" if status.seconds_left is None else duration(status.seconds_left)
    share = min(1.0, status.done / status.total) if status.total else 0.0
    facts = [(status.state, f"{share:.0%}", f"{status.done:.0f} of {status.total:g} epochs, {lines.last_step:,} steps")]
    if left:
        facts.append(("time left", left, f"{speed:.1f} images/s" if speed else ""))
    if status.best is not None:
        shown = f"step {int(lines.notes.get('step', 0)):,}, last {decimal(status.last or 0.0)}"
        facts.append((f"best {status.metric} on val", decimal(status.best), shown))
    if lines.losses:
        facts.append(("loss", decimal(lines.losses[-1]["loss"]), "mean since the line before"))
    if status.memory_gib:
        facts.append(("peak memory", f"{status.memory_gib:.1f} GiB", "of this process, or of the GPU"))
    return facts


def _notices(status: RunStatus, lines: RunLines) -> list[str]:
    if status.state != "running":
        return ["This training has stopped and was never evaluated; run the same command again to resume it."]
    if not lines.losses:
        return ["The first line of metrics is still to come."]
    if not lines.evaluations:
        return ["The first evaluation is still to come: until then there are no metrics on val."]
    return []
