"""Whether a page can be read: what a person would complain of, as a browser sees it."""

from pathlib import Path
from typing import Any

from tests.browser import Browser

# What a reader of a telephone can still make out, and what WCAG wants of contrast.
TEXT_MIN_PX = 11
CONTRAST_MIN = 4.5

_MEASURE = """
(() => {
  const within = (box, other) => box.right > other.left + 1 && other.right > box.left + 1
    && box.bottom > other.top + 1 && other.bottom > box.top + 1;
  const luminance = ([r, g, b]) => [r, g, b].map(it => it / 255)
    .map(it => it <= .04045 ? it / 12.92 : ((it + .055) / 1.055) ** 2.4)
    .reduce((sum, it, at) => sum + it * [.2126, .7152, .0722][at], 0);
  const colour = text => text.match(/[\\d.]+/g).map(Number);
  const ground = of => {
    for (let it = of; it; it = it.parentElement) {
      const [r, g, b, alpha] = colour(getComputedStyle(it).backgroundColor);
      if (alpha !== 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const contrast = of => {
    const [a, b] = [luminance(colour(getComputedStyle(of).color)), luminance(ground(of))];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  };
  const verdict = document.querySelector("#verdict");
  const seen = verdict && verdict.getBoundingClientRect();
  const told = {
    width: innerWidth, content: document.documentElement.scrollWidth,
    verdict: !!seen && verdict.checkVisibility() && seen.top >= 0 && seen.bottom <= innerHeight,
    small: [], pale: [], outside: [], covered: [],
  };
  document.querySelectorAll("details").forEach(it => { it.open = true; });
  told.content = Math.max(told.content, document.documentElement.scrollWidth);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const labels = [];
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const parent = node.parentElement;
    const words = node.textContent.trim().slice(0, 60);
    if (!words || !parent.checkVisibility()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (parseFloat(getComputedStyle(parent).fontSize) < TEXT_MIN_PX) told.small.push(words);
    if (contrast(parent) < CONTRAST_MIN) told.pale.push(words);
    if (!parent.closest(".scroll") && (box.left < 0 || box.right > innerWidth)) told.outside.push(words);
    if (parent.closest(".marks, .plot")) labels.push([words, box]);
  }
  labels.forEach(([words, box], at) => labels.slice(at + 1).forEach(([others, other]) => {
    if (within(box, other)) told.covered.push(`${words} / ${others}`);
  }));
  return told;
})()
""".replace("TEXT_MIN_PX", str(TEXT_MIN_PX)).replace("CONTRAST_MIN", str(CONTRAST_MIN))


def read_page(browser: Browser, page: Path, width: int, scheme: str) -> list[str]:
    """A sentence for everything that is wrong with it on a screen of so many CSS pixels; `scheme`: light or dark."""
    visit = browser.visit(page.as_uri(), width, 640, scheme)
    told: dict[str, Any] = browser.evaluate(_MEASURE)
    wrong = [f"complains: {it}" for it in visit.complaints]
    wrong += [f"asks for {url}" for url in visit.requests if url != page.as_uri()]
    if visit.requests[:1] != [page.as_uri()]:
        wrong.append("was not asked for itself")
    if told["width"] != width:
        wrong.append(f"is laid out for {told['width']} px instead of {width}")
    if told["content"] > width:
        wrong.append(f"is {told['content']} px wide on a screen of {width}")
    if not told["verdict"]:
        wrong.append("does not show its verdict at once")
    wrong += [f"is smaller than {TEXT_MIN_PX} px: {it}" for it in told["small"]]
    wrong += [f"is hard to tell from its ground: {it}" for it in told["pale"]]
    wrong += [f"is off the screen: {it}" for it in told["outside"]]
    wrong += [f"lie on each other: {it}" for it in told["covered"]]
    return wrong
