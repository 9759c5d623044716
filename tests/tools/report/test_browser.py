"""Tests the page of a study in Chromium: hovering, picking, sorting, printing."""

import pytest

from clinometer.tests.tools.report import chromium
from clinometer.tools.report import study_figures
from clinometer.tools.report import study_page

pytestmark = pytest.mark.slow

_PLACE = """(() => {
  const [plot, view] = [...clinometer.live].find(([p]) => p.dataset.figure === %r);
  plot.scrollIntoView({block: 'center'});
  const svg = plot.querySelector('.live svg').getBoundingClientRect();
  const [x, y] = view.origin();
  const mark = clinometer.marks(view).find(m => (m.datum.id || m.datum.key) === %r);
  return [svg.x + x + mark.x, svg.y + y + mark.y];
})()"""
_ALL_LIVE = "document.querySelectorAll('.plot').length === clinometer.live.size"
_FOCUS = (
    "document.querySelectorAll('.plot').forEach("
    "e => e.dispatchEvent(new Event('focus')))"
)
# Number of marks in a family's colour in a figure.
_COLOURED = """[...document.querySelectorAll(
  '[data-figure=%s] .live path[fill="var(--%s)"]')].length"""


@pytest.fixture(scope="module")
def url(several, tmp_path_factory):
    sources, tables = several
    path = tmp_path_factory.mktemp("page") / "report.html"
    html = study_page.render(sources, tables, study_figures.make(tables))
    path.write_text(html, encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    with chromium.started() as started:
        yield started


def _rows(name):
    return (
        f"[...document.querySelectorAll('table[data-name={name}] tbody tr')]"
        ".filter(r => !r.hidden)"
    )


def test_hover_pick_sort_filter_and_keys(browser, url):
    page = browser.page()
    page.open(url, 1400)
    page.value(_FOCUS)
    page.wait(_ALL_LIVE)
    figures = page.value("clinometer.live.size")
    # Hovering names a run, and rings its model in another figure.
    x, y = page.value(_PLACE % ("residuals", "glu-nano-o1-s1"))
    page.mouse("mouseMoved", x, y)
    page.wait("!document.getElementById('card').hidden")
    assert "glu-nano-o1-s1" in page.value("document.getElementById('card').innerText")
    assert page.value("clinometer.state.hot") == "glu-nano"
    # A click on a mark picks its architecture everywhere.
    assert page.value(_COLOURED % ("residuals", "layer")) == 0
    page.mouse("click", x, y)
    page.wait("clinometer.state.picked.join() === 'glu'")
    page.wait(f"{_COLOURED % ('residuals', 'layer')} >= 8")
    signals = "[...clinometer.live.values()].map(v => v.signal('picked').join())"
    page.wait(f"{signals}.every(s => s === 'glu')")
    assert page.value("location.hash") == "#pick=glu"
    assert page.value(f"{_rows('table1')}.length") == 4
    # So does one in the legend; it changes the marks of two figures.
    before = [page.value(_COLOURED % (n, "conv")) for n in ("residuals", "score-rte")]
    page.value("document.querySelector('[data-pick=mixer]').click()")
    for name, count in zip(("residuals", "score-rte"), before):
        page.wait(f"{_COLOURED % (name, 'conv')} > {count}")
    assert page.value(f"{_rows('table1')}.length") == 8
    page.key("Escape", 27)
    page.wait("clinometer.state.picked.length === 0")
    assert page.value(f"{_rows('table1')}.length") == 12
    # Sorting by the loss, best first, and filtering by words.
    head = "[...document.querySelectorAll('table[data-name=table1] thead th')]"
    page.value(
        f"{head}.find(h => h.innerText.includes('ln')).querySelector('button').click()"
    )
    named = "[...document.querySelectorAll('th button')].map(b => b.ariaLabel)"
    for name in page.value(
        "[...document.querySelectorAll('table')].map(t => t.dataset.name)"
    ):
        labels = page.value(named.replace("'th", f"'[data-name={name}] th"))
        assert len(set(labels)) == len(labels)
    first = f"{_rows('table1')}[0].innerText"
    assert "GLU" in page.value(first) and "milli" in page.value(first)
    losses = page.value(f"{_rows('table1')}.map(r => Number(r.cells[6].dataset.v))")
    assert losses == sorted(losses, reverse=True)
    page.value(
        "(f => { f.value = 'mixer nano'; f.dispatchEvent(new Event('input')); })"
        "(document.querySelector('[data-filters=table1]'))"
    )
    assert page.value(f"{_rows('table1')}.length") == 1
    # Marks are reached by the keyboard, and picked by it.
    page.value("document.querySelector('[data-figure=frontier-parameters]').focus()")
    page.key("ArrowRight", 39)
    page.wait("!document.getElementById('card').hidden")
    named = page.value("document.querySelector('#card b').textContent")
    page.key("ArrowRight", 39)
    page.wait(f"document.querySelector('#card b').textContent !== {named!r}")
    page.key("Enter", 13)
    page.wait("clinometer.state.picked.length === 1")
    assert page.value("clinometer.live.size") == figures
    assert page.value("clinometer.errors") == []
    assert page.messages == [] and set(page.requests) == {url}


@pytest.mark.parametrize("width", [400, 820, 1400])
@pytest.mark.parametrize("scripts", [True, False])
def test_nothing_overflows_and_every_figure_is_there(browser, url, width, scripts):
    page = browser.page()
    page.open(url, width, scripts=scripts)
    if scripts:
        page.value(_FOCUS)
        page.wait(_ALL_LIVE)
    shown = page.value(
        "[...document.querySelectorAll('.plot')].map(p => [...p.querySelectorAll("
        "':scope > div > svg, .vega-embed > svg, .live svg')]"
        ".filter(s => s.getBoundingClientRect().height > 50).length)"
    )
    assert len(shown) >= 15 and all(count == 1 for count in shown)
    assert page.value("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.value("document.querySelectorAll('table.data').length") >= 10
    assert page.messages == [] and set(page.requests) == {url}


def test_an_address_picks_and_names_are_no_markup(browser, url):
    page = browser.page()
    page.open(f"{url}#pick=glu,constructor,%3Cimg%3E", 1400)
    page.wait(_ALL_LIVE)  # All figures are drawn once something is picked.
    assert page.value("clinometer.state.picked") == ["glu"]
    assert page.messages == []
