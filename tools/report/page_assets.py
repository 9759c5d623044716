"""Style sheet and script of the report page, which are embedded in it."""

STYLE = """
:root { --ink: #1f2933; --muted: #616e7c; --line: #e4e7eb; --soft: #f5f7fa;
  --accent: #0072b2; --warn: #9a3412; --warn-soft: #fff7ed; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans",
  sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 2.2rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 2.8rem 0 .6rem; padding-top: 1.1rem;
  border-top: 1px solid var(--line); }
p { margin: .4rem 0; max-width: 72ch; }
.lead, .note, figcaption, dt { color: var(--muted); }
.note, figcaption { font-size: .875rem; }
.headline { background: var(--soft); border-radius: 10px; padding: 1.1rem 1.3rem;
  margin: 1.4rem 0; }
.headline + .headline { margin-top: .6rem; }
.headline .value { font-size: 2.1rem; font-weight: 650; line-height: 1.15;
  color: var(--accent); font-variant-numeric: tabular-nums; }
.figures { display: grid; gap: 1.6rem; grid-template-columns:
  repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }
figure { margin: 0; min-width: 0; }
figure h3 { font-size: .95rem; margin: 0 0 .3rem; }
figure svg { width: 100%; height: auto; display: block; }
.wide { max-width: 760px; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; font-size: .875rem; width: 100%;
  font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .7rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; vertical-align: bottom; color: var(--muted); }
th.text, td.text { text-align: left; }
td.wrap { white-space: normal; min-width: 14rem; font-size: .82rem;
  color: var(--muted); }
td.text:first-child { font-weight: 550; }
tbody tr:hover { background: var(--soft); }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
.tag { border-radius: 4px; padding: .05rem .4rem; font-size: .8rem;
  background: var(--warn-soft); color: var(--warn); }
ul.warnings { margin: .4rem 0; padding: .8rem 1rem .8rem 2rem; border-radius: 8px;
  background: var(--warn-soft); color: var(--warn); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem;
  font-size: .9rem; margin: .6rem 0; }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .92em; }
details { margin: .8rem 0; } summary { cursor: pointer; color: var(--accent); }
@media (max-width: 540px) { main { padding: 1.3rem .9rem 3rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } }
""".strip()

# A click on a heading sorts its table by data-value; another click reverses the order.
SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th").forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th").forEach(h => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = row => row.cells[column].dataset.value;
      const order = (a, b) => {
        const x = key(a), y = key(b);
        if (x === "" || y === "") return (x === "") - (y === "");
        const numbers = !isNaN(x) && !isNaN(y);
        const sign = numbers ? x - y : x.localeCompare(y);
        return down ? -sign : sign;
      };
      const body = table.tBodies[0];
      [...body.rows].sort(order).forEach(row => body.append(row));
    });
  });
}
""".strip()
