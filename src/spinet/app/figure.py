"""A picture on the page as HTML: with its text, in full size or enlarged, over the whole screen, to download."""

import base64
import io
import json
from collections.abc import Sequence
from html import escape

from PIL import Image

# Names and the values that the style sheet knows; the first one is chosen at the start.
ZOOMS = {"fit": "fit", "full size": "1", "2x": "2", "4x": "4"}
# Run by the browser with the name of a zoom.
ZOOM_SCRIPT = "(name) => { document.body.dataset.zoom = {" + (
    ", ".join(f"'{name}': '{value}'" for name, value in ZOOMS.items()) + "}[name] || 'fit'; }"
)
_FULL = (
    "const f = this.closest('figure'); document.fullscreenElement ? document.exitFullscreen() : f.requestFullscreen()"
)
# The picture is in the page once.
_SOURCE = "this.href = this.closest('figure').querySelector('img').src"


def figure(picture: Image.Image, text: str, name: str, size: tuple[int, int]) -> str:
    """Return the figure.

    Args:
        picture: what is shown.
        text: what is in it, for who does not see it.
        name: of the file that it is saved as.
        size: width and height of the image in pixels, of which `picture` may be a smaller or larger copy.
    """
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    source = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    place = f"--w:{size[0]};--h:{size[1]}"
    return (
        f'<figure class="picture"><div class="frame" tabindex="0" role="group" aria-label="{escape(text)}">'
        f'<img src="{source}" alt="{escape(text)}" style="{place}"></div>'
        f'<figcaption><button type="button" onclick="{escape(_FULL)}">Full screen</button>'
        f'<a href="#" onclick="{escape(_SOURCE)}" download="{escape(name)}">Download</a></figcaption></figure>'
    )


def label_script(names: Sequence[str]) -> str:
    """Return what the browser runs to name the buttons of the examples, which Gradio leaves without a name."""
    return (
        f"() => {{ const names = {json.dumps(list(names))}; const label = () => "
        "document.querySelectorAll('#examples .gallery-item').forEach((button, index) => "
        "button.setAttribute('aria-label', 'Example ' + (names[index] ?? ''))); label(); "
        "new MutationObserver(label).observe(document.body, {childList: true, subtree: true}); }"
    )
