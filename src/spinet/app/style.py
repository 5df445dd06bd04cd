"""How the page looks: its colours are those of Gradio's theme, light and dark, and its letters those of the system."""

from spinet.draw.page import PALETTE


def _alert(theme: int) -> str:
    ink, page, line = (PALETTE[f"alert-{part}"][theme] for part in ("ink", "page", "line"))
    return f"{{ color: {ink}; background: {page}; border-color: {line}; }}"


STYLE = (
    f"""
.gradio-container .alert {_alert(0)}
.dark .gradio-container .alert, .gradio-container.dark .alert {_alert(1)}
"""
    + """
.gradio-container { box-sizing: border-box; width: 100% !important; max-width: 1240px !important; min-width: 0;
  margin: 0 auto !important; padding: .5rem .5rem 3rem !important; }
.gradio-container > .main { box-sizing: border-box; width: 100%; max-width: 100%; min-width: 0; padding: .5rem; }
.gradio-container h1 { margin: 0; font-size: 1.6rem; letter-spacing: -.01em; }
.gradio-container h3 { margin: .25rem 0 .1rem; font-size: 1rem; overflow-wrap: anywhere; }
.gradio-container .note { margin: 0 0 .4rem; color: var(--body-text-color-subdued); font-size: .875rem;
  overflow-wrap: anywhere; }
.gradio-container .alert { margin: 0; padding: .6rem .8rem; border-radius: 8px; font-size: .9rem;
  overflow-wrap: anywhere; border-width: 1px; border-style: solid; }
.gradio-container h3 small { margin-left: .4rem; font-weight: 400; color: var(--body-text-color-subdued); }
.gradio-container .html-container { padding: 0 !important; }
.gradio-container .wide { overflow: auto; }
.gradio-container .wide.found { max-height: 30rem; }
.gradio-container .wide.costs :is(th, td):last-child { width: 35%; }
.gradio-container .wide.costs td:first-child { white-space: nowrap; }
.gradio-container .wide :is(table, thead, tbody, tr) { border: 0 !important; margin: 0; }
.gradio-container .wide table { width: 100%; border-collapse: collapse; font-size: .875rem; line-height: 1.35;
  font-variant-numeric: tabular-nums; }
.gradio-container .wide :is(th, td) { padding: .35rem .5rem; text-align: right; white-space: nowrap; border: 0;
  border-bottom: 1px solid var(--border-color-primary); }
.gradio-container .wide th { position: sticky; top: 0; background: var(--body-background-fill);
  color: var(--body-text-color-subdued); font-weight: 600; }
.gradio-container .wide :is(th, td):first-child { padding-left: 0; text-align: left; white-space: normal; }
.gradio-container .wide :is(th, td):last-child { padding-right: .25rem; }
.gradio-container .dot { display: inline-block; width: .7em; height: .7em; margin-right: .45em; border-radius: 50%; }
.gradio-container .bar { width: 100%; min-width: 36px; height: .6rem; border-radius: 3px;
  background: var(--border-color-primary); }
.gradio-container .bar div { height: 100%; min-width: 1px; border-radius: 3px; background: var(--color-accent); }
.gradio-container .beside { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.gradio-container .beside > div { flex: 1 1 300px; min-width: 0; }
.gradio-container .drawing { overflow-x: auto; border-radius: 12px; }
.gradio-container .drawing svg { display: block; width: 100%; min-width: 760px; height: auto; }
@media (max-width: 480px) {
  .gradio-container .wide :is(th, td) { padding: .35rem .3rem; }
  .gradio-container .wide.costs :is(th, td):last-child { width: 20%; }
}
"""
)
