"""From SVG text to the bytes of a PNG file."""

from pathlib import Path

from spinet.errors import SpinetError


def svg_to_png(svg: str, zoom: float = 2.0) -> bytes:
    """Return the picture as PNG, `zoom` pixels for each of its units.

    Raises:
        SpinetError: the renderer is not installed.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise SpinetError("PNG files need one more package: pip install 'spinet[draw]'; SVG needs none") from None
    import matplotlib

    # Letters must not vanish on a machine without fonts, so a font that is surely there is among the choices.
    fonts = sorted(Path(matplotlib.get_data_path()).glob("fonts/ttf/DejaVuSans*.ttf"))
    return bytes(
        svg_to_bytes(
            svg_string=svg,
            zoom=zoom,
            font_files=[str(font) for font in fonts if font.stem in ("DejaVuSans", "DejaVuSans-Bold")],
            sans_serif_family="DejaVu Sans",
        )
    )
