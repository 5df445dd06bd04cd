"""The report of a training inside the page: nothing in it can run or reach the page around it."""

from contextlib import suppress
from html import escape
from pathlib import Path

from spinet.app.html import alert, note
from spinet.engine.checkpoint import weights_file
from spinet.engine.sessions import SESSIONS
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.report.training import render_training
from spinet.report.training_run import METRICS, is_training, open_training

REPORT = "report.html"


def report_view(path: Path, name: str) -> str:
    """Return the report of a run as HTML, made if it is missing or old; else why there is none.

    Args:
        path: the run folder, or a file in it.
        name: of the model.
    """
    folder = path.parent if path.is_file() else path
    try:
        return _frame(_report(folder), name)
    except SpinetError as error:
        return alert(str(error))


def _report(folder: Path) -> str:
    if folder.is_dir() and not is_training(folder):
        raise SpinetError("only a run folder has a report, and this model comes without its training")
    file = folder / REPORT
    try:
        made = file.stat().st_mtime
        sources = [weights_file(folder), *(folder / name for name in (METRICS, SESSIONS))]
        if made >= max(source.stat().st_mtime for source in sources if source.is_file()):
            return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        pass  # made anew
    html = render_training(open_training(folder))
    with suppress(SpinetError):  # a folder that cannot be written is no reason not to show it
        write_atomically(file, html)
    return html


def _frame(html: str, name: str) -> str:
    words = note(f"The report of {name}, as spinet report writes it.")
    return f'{words}<iframe class="report" title="Report of {escape(name)}" sandbox srcdoc="{escape(html)}"></iframe>'
