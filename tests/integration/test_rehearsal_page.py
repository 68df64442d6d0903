"""The page of a rehearsal in a real browser: it needs nothing but itself, and can be read on a telephone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from loadtest.rehearsal.figures import Figures
from loadtest.rehearsal.page.render import render_page
from tests.browser import PROGRAM, Browser, running_browser
from tests.reading import read_page
from tests.rehearsed import made_up

pytestmark = pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"{PROGRAM} is not installed")

_LONG = "a word that nobody breaks: " + "x" * 200

MADE_UP = made_up()
BROKEN = msgspec.structs.replace(
    MADE_UP,
    name="red-packet-rain-" + "x" * 60,
    violations=[f"claim {number} of {_LONG} is not in the ledger" for number in range(50)],
    audit=_LONG,
    audit_status=1,
    host="a.host.with.a.long.name." * 8,
    cpu=[],
)
EMPTY = msgspec.structs.replace(MADE_UP, seconds=[], marks=[], latencies=[], refusals={}, unknown={}, drained_s=None)
LONG = made_up(seconds=7200)

# What somebody might break, and what must then be said.
DOCTORED = {
    "an image from elsewhere": ("</body>", '<img src="http://127.0.0.1:1/x" alt=""></body>', "asks for http://127.0.0.1:1/x"),
    "a script that fails": ("</body>", "<script>missing()</script></body>", "complains: ReferenceError: missing"),
    "a script that warns": ("</body>", "<script>console.warn('careful')</script></body>", "complains: careful"),
    "a wide table": ("</body>", "<table style='width:500px'><tr><td>wide</table></body>", "px wide on a screen of 360"),
    "no viewport": ('name="viewport"', 'name="window"', "is laid out for 980 px"),
    "small print": ("</body>", '<p style="font-size:10px">small print</p></body>', "smaller than 11 px: small print"),
    "pale print": ("</body>", '<p style="color:#ccc">pale print</p></body>', "from its ground: pale print"),
    "text beside the screen": (
        "</body>",
        '<p style="position:absolute;left:-9rem">beside it</p></body>',
        "is off the screen: beside it",
    ),
    "a verdict below": ("<main>", '<main><div style="height:700px"></div>', "does not show its verdict at once"),
    "labels on each other": (
        'class="x" aria-hidden="true" style="left:',
        'class="x" style="left:0;--was:',
        "lie on each other",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("figures", [MADE_UP, BROKEN, EMPTY, LONG], ids=["a minute", "broken", "empty", "two hours"])
def test_a_page_asks_for_nothing_complains_of_nothing_and_can_be_read(
    browser: Browser, tmp_path: Path, figures: Figures, width: int, scheme: str
) -> None:
    page = tmp_path / "page.html"
    page.write_text(render_page(figures), encoding="utf-8")
    assert read_page(browser, page, width, scheme) == []


@pytest.mark.parametrize(("old", "new", "said"), DOCTORED.values(), ids=DOCTORED)
def test_what_is_wrong_with_a_page_is_seen(browser: Browser, tmp_path: Path, old: str, new: str, said: str) -> None:
    page = tmp_path / "page.html"
    # Without the policy by which the page refuses scripts and images by itself.
    doctored = render_page(MADE_UP).replace("Content-Security-Policy", "nothing").replace(old, new)
    page.write_text(doctored, encoding="utf-8")
    assert any(said in it for it in read_page(browser, page, 360, "light"))


def test_a_page_refuses_scripts_by_itself(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(render_page(MADE_UP).replace("</body>", "<script>document.title = 'ran'</script></body>"))
    assert any("Content Security Policy" in it for it in read_page(browser, page, 360, "light"))
    assert browser.evaluate("document.title") != "ran"
