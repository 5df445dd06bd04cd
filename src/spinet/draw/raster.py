"""Render SVG as PNG."""

from pathlib import Path

from spinet.extras import import_extra


def svg_to_png(svg: str, zoom: float = 2.0) -> bytes:
    """Return an SVG image as PNG, with `zoom` pixels per SVG unit.

    Raises:
        SpinetError: the renderer is not installed.
    """
    renderer = import_extra("resvg_py", "draw", "drawing PNG files (SVG files need nothing more)")
    import matplotlib

    # matplotlib's fonts, so that text is rendered on machines without fonts too.
    fonts = sorted(Path(matplotlib.get_data_path()).glob("fonts/ttf/DejaVuSans*.ttf"))
    return bytes(
        renderer.svg_to_bytes(
            svg_string=svg,
            zoom=zoom,
            font_files=[str(font) for font in fonts if font.stem in ("DejaVuSans", "DejaVuSans-Bold")],
            sans_serif_family="DejaVu Sans",
        )
    )
