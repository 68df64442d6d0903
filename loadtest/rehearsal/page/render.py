"""The page of a rehearsal: one file of HTML that needs nothing else, no script and no network."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadtest.rehearsal.figures import Figures
from loadtest.rehearsal.page.charts import choose_charts
from loadtest.rehearsal.page.draw import HEIGHT, WIDTH, draw
from loadtest.rehearsal.page.key_figures import choose_key_figures
from loadtest.rehearsal.page.tables import conditions_table, count_table, cpu_table, latency_table
from loadtest.rehearsal.page.verdict import give_verdict

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_page(figures: Figures) -> str:
    """The whole page, to be written as UTF-8. All words of `figures` are escaped."""
    return _TEMPLATES.get_template("page.html").render(
        figures=figures,
        verdict=give_verdict(figures),
        key_figures=choose_key_figures(figures),
        unknown=count_table("Sends and claims once unknown", "became", figures.unknown),
        drawings=[draw(chart, figures.marks) for chart in choose_charts(figures)],
        size=(WIDTH, HEIGHT),
        latencies=latency_table(figures.latencies),
        refusals=count_table("Refusals by reason", "reason", figures.refusals),
        cpu=cpu_table(figures.cpu),
        conditions=conditions_table(figures),
    )
