(() => {
  'use strict';
  const payload = JSON.parse(document.getElementById('payload').textContent);
  const {specs, cards, labels} = payload;
  const $$ = (query, from = document) => [...from.querySelectorAll(query)];
  const phone = matchMedia('(max-width: 640px)');

  // Tables travel as columns and rows.
  const data = {};
  for (const [name, {columns, rows}] of Object.entries(payload.data)) {
    data[name] = rows.map(row => Object.fromEntries(columns.map((c, i) => [c, row[i]])));
  }

  // ---- One state. Figures and tables only ever read it; set() is the only writer.
  const state = {picked: [], hot: ''};
  const live = new Map();  // plot element -> Vega view
  const errors = [];
  const filters = new Map($$('[data-filters]').map(f => [f.dataset.filters, f]));

  function set(change) {
    Object.assign(state, change);
    if (state.picked.length) plots.forEach(mount);
    for (const view of live.values()) push(view);
    if (!('picked' in change)) return;
    const some = state.picked.length > 0;
    const chips = document.querySelector('.chips');
    if (chips) {
      $$('[data-pick]').forEach(b => b.setAttribute('aria-pressed', state.picked.includes(b.dataset.pick)));
      chips.classList.toggle('some', some);
      document.getElementById('all').hidden = !some;
    }
    $$('.panel').forEach(p => p.classList.toggle('dim', !on(p.dataset.arch)));
    filterRows();
    history.replaceState(null, '', some
      ? `#pick=${state.picked.map(encodeURIComponent).join(',')}`
      : location.pathname + location.search + (location.hash.startsWith('#pick=') ? '' : location.hash));
  }

  const on = arch => !state.picked.length || state.picked.includes(arch);

  function filterRows() {
    $$('table.data').forEach(table => {
      const field = filters.get(table.dataset.name);
      const words = field ? field.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
      const rows = $$('tbody tr', table);
      for (const row of rows) {
        const text = words.length ? row.textContent.toLowerCase() : '';
        row.hidden = ('arch' in row.dataset && !on(row.dataset.arch)) || !words.every(w => text.includes(w));
      }
      const count = document.querySelector(`[data-counts="${table.dataset.name}"]`);
      if (count) count.textContent = `${rows.filter(r => !r.hidden).length} of ${rows.length}`;
    });
  }

  const toggle = arch => Object.hasOwn(labels, arch) && set({picked: state.picked.includes(arch)
    ? state.picked.filter(a => a !== arch) : [...state.picked, arch]});

  // One update of a view at a time: a signal set while the view still runs is recorded
  // but may not be drawn, so a change that comes meanwhile asks for another round.
  const running = new Set(), again = new Set();

  async function push(view) {
    if (running.has(view)) { again.add(view); return; }
    running.add(view);
    do {
      again.delete(view);
      await view.signal('picked', state.picked).signal('hot', state.hot).runAsync();
    } while (again.has(view));
    running.delete(view);
  }

  // When the page scrolls or redraws under a pointer at rest, browsers send its events,
  // too; they must not close a card that the keyboard opened.
  let pointer = [];
  const still = event => event.clientX === pointer[0] && event.clientY === pointer[1];
  addEventListener('pointermove', event => { pointer = [event.clientX, event.clientY]; });
  addEventListener('wheel', () => show(null), {passive: true});

  // ---- Figures: drawn when they come near, or all at once when something is picked.
  const plots = $$('.plot');
  const variant = plot => phone.matches && 'narrow' in plot.dataset ? 'narrow' : 'wide';

  async function mount(plot) {
    if (live.has(plot) || plot.dataset.busy) return;
    plot.dataset.busy = '1';
    plot.dataset.drawn = variant(plot);
    const spec = structuredClone(specs[plot.dataset[plot.dataset.drawn]]);
    for (const p of spec.params) if (p.name === 'panel') p.value = plot.dataset.panel;
    const text = JSON.stringify(spec);
    spec.datasets = {};
    for (const key in data) if (text.includes(`"name":"${key}"`)) spec.datasets[key] = data[key];
    const box = document.createElement('div');
    box.className = 'live';
    try {
      // ast: expressions are walked, not compiled, so the page forbids eval.
      const {view} = await vegaEmbed(box, spec, {mode: 'vega-lite', renderer: 'svg',
        actions: false, ast: true, tooltip: false, defaultStyle: false});
      view.addEventListener('pointermove', (event, item) =>
        still(event) || show(item && item.datum, event.clientX, event.clientY));
      view.addEventListener('pointerout', event => still(event) || show(null));
      view.addEventListener('click', (event, item) => {
        if (item && item.datum && item.datum.arch) toggle(item.datum.arch);
      });
      live.set(plot, view);
      plot.append(box);
      plot.classList.add('is-live');
      if (state.picked.length) push(view);
    } catch (error) {
      errors.push(String(error));  // The static figure stays.
      console.error(error);
    }
    delete plot.dataset.busy;
    document.body.dataset.live = live.size;
  }

  const near = new IntersectionObserver(entries => entries.forEach(e => {
    if (e.isIntersecting) { near.unobserve(e.target); mount(e.target); }
  }), {rootMargin: '300px'});
  plots.forEach(p => near.observe(p));
  // Printing and screenshots pass through other widths for a moment: wait, then look.
  let turning;
  phone.addEventListener('change', () => {
    clearTimeout(turning);
    turning = setTimeout(() => {
      for (const [plot, view] of live) {
        if (plot.dataset.drawn === variant(plot)) continue;
        live.delete(plot);
        view.finalize();
        plot.classList.remove('is-live');
        plot.querySelector('.live').remove();
        if (state.picked.length) mount(plot); else near.observe(plot);
      }
    }, 250);
  });

  // ---- The card that names a mark. Text nodes only: names are never markup.
  const card = document.getElementById('card');
  const fixed = (value, digits) => value.toFixed(digits).replace('-', '−');

  function lines(d) {
    if (!d) return null;
    if (d.card) return [d.name, ...d.card];
    const known = (cards.runs && cards.runs[d.id]) || (cards.models && cards.models[d.key])
      || (cards.archs && cards.archs[d.arch]);
    if (!known) return null;
    if (d.step) {
      const value = 'score' in d ? ['score', `${fixed(d.score, 1)} %`] : ['loss', `${fixed(d.loss, 3)} nats`];
      return [d.id, ['step', d.step.toLocaleString('en')], value];
    }
    if ('score' in d && 'name' in d) return [known[0], [d.name, `${fixed(d.score, 1)} %`], ...known.slice(1)];
    return known;
  }

  function show(datum, x, y) {
    const found = lines(datum);
    card.hidden = !found;
    const hot = found ? datum.key || datum.arch || '' : '';
    if (hot !== state.hot) set({hot});
    if (!found) return;
    const [title, ...rest] = found;
    const b = document.createElement('b');
    b.textContent = title;
    card.replaceChildren(b, ...rest.map(([key, value]) => {
      const line = document.createElement('div');
      const k = document.createElement('span');
      k.className = 'k';
      k.textContent = key ? `${key}  ` : '';
      line.append(k, value);
      if (!key) line.className = 'bad';
      return line;
    }));
    card.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - card.offsetWidth - 8))}px`;
    card.style.top = `${y + card.offsetHeight + 24 > innerHeight ? y - card.offsetHeight - 12 : y + 16}px`;
  }

  // ---- Marks by the keyboard: arrows go from mark to mark, Enter picks.
  const identity = d => d.id || d.key || d.arch || d.name;

  function marks(view) {
    const found = new Map();
    (function walk(item, x, y) {
      if (item.marktype) { item.items.forEach(i => walk(i, x, y)); return; }
      if (item.items) {
        const [dx, dy] = [x + (item.x || 0), y + (item.y || 0)];
        item.items.forEach(i => walk(i, dx, dy));
        return;
      }
      const type = item.mark && item.mark.marktype;
      if ((type !== 'symbol' && type !== 'rect') || !lines(item.datum)) return;
      const at = {datum: item.datum, x: x + item.x + (item.width || 0) / 2, y: y + item.y + (item.height || 0) / 2};
      const key = `${identity(item.datum)} ${item.datum.step || item.datum.side || ''}`;
      if (!found.has(key)) found.set(key, at);
    })(view.scenegraph().root.items[0], 0, 0);
    return [...found.values()].sort((a, b) => a.x - b.x || a.y - b.y);
  }

  const STEPS = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1};
  let place = -1;

  plots.forEach(plot => {
    plot.addEventListener('focus', () => { place = -1; mount(plot); });
    plot.addEventListener('blur', () => show(null));
    plot.addEventListener('keydown', event => {
      const view = live.get(plot);
      if (!view) return;
      const all = marks(view);
      if (!all.length) return;
      if (event.key in STEPS) {
        place = place < 0 ? (STEPS[event.key] > 0 ? 0 : all.length - 1)
          : (place + STEPS[event.key] + all.length) % all.length;
        const svg = plot.querySelector('.live svg');
        const box = svg.getBoundingClientRect();
        const scale = box.width / svg.viewBox.baseVal.width;
        const [ox, oy] = view.origin();
        show(all[place].datum, box.x + (all[place].x + ox) * scale, box.y + (all[place].y + oy) * scale);
        event.preventDefault();
      } else if ((event.key === 'Enter' || event.key === ' ') && place >= 0 && all[place]) {
        toggle(all[place].datum.arch);
        event.preventDefault();
      }
    });
  });

  // ---- Chips, panels, tables.
  $$('[data-pick]').forEach(b => b.addEventListener('click', () => toggle(b.dataset.pick)));
  $$('.panel figcaption').forEach(c => c.addEventListener('click', () => toggle(c.parentElement.dataset.arch)));
  const all = document.getElementById('all');
  if (all) all.addEventListener('click', () => set({picked: []}));
  filters.forEach(field => field.addEventListener('input', filterRows));
  document.addEventListener('keydown', e => {
    if (e.key !== 'Escape') return;
    show(null);
    if (state.picked.length) set({picked: []});
  });

  const value = cell => {
    const v = cell.dataset.v ?? cell.textContent.trim();
    return v === '' || v === '–' ? null : isNaN(v) ? v : Number(v);
  };
  $$('table.sortable').forEach(table => $$('thead th', table).forEach((th, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'sort';  // Over the heading, so that print can drop it.
    // With the unit, as several headings may be "FLOPs".
    button.setAttribute('aria-label', `Sort by ${th.textContent.trim()}`);
    th.append(button);
    button.addEventListener('click', () => {
      const first = th.classList.contains('t') ? 'ascending' : 'descending';
      const other = first === 'ascending' ? 'descending' : 'ascending';
      const order = th.getAttribute('aria-sort') === first ? other : first;
      $$('thead th', table).forEach(t => t.removeAttribute('aria-sort'));
      th.setAttribute('aria-sort', order);
      const sign = order === 'ascending' ? 1 : -1;
      const sorted = $$('tbody tr', table).sort((a, b) => {
        const [p, q] = [value(a.cells[column]), value(b.cells[column])];
        if (p === null || q === null) return (p === null) - (q === null);
        return sign * (typeof p === 'number' && typeof q === 'number'
          ? p - q : String(p).localeCompare(String(q), 'en'));
      });
      table.tBodies[0].append(...sorted);
    });
  }));

  $$('[data-csv]').forEach(button => button.addEventListener('click', () => {
    const table = document.querySelector(`table[data-name="${button.dataset.csv}"]`);
    const quote = text => `"${text.trim().replace(/\s+/g, ' ').replace(/"/g, '""')}"`;
    const text = $$('tr', table).filter(r => !r.hidden)
      .map(r => [...r.cells].map(c => c.dataset.v ?? quote(c.textContent)).join(',')).join('\n');
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text + '\n'], {type: 'text/csv'}));
    link.download = `${button.dataset.csv}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }));

  // Paper has the whole record, with details open.
  let opened = [];
  addEventListener('beforeprint', () => {
    opened = $$('details:not([open])');
    opened.forEach(d => { d.open = true; });
  });
  addEventListener('afterprint', () => opened.forEach(d => { d.open = false; }));

  // ---- A page of a running study asks its server for changes.
  if (payload.live) {
    let version = null;
    setInterval(async () => {
      try {
        const found = await (await fetch('version', {cache: 'no-store'})).text();
        if (version !== null && found !== version) location.reload();
        version = found;
      } catch (error) { /* The server has gone; the page stays. */ }
    }, 5000);
  }

  const asked = /^#pick=([^&]+)$/.exec(location.hash);
  let picked = [];
  try { picked = asked ? asked[1].split(',').map(decodeURIComponent) : []; } catch (error) { /* Not ours. */ }
  set({picked: picked.filter(a => Object.hasOwn(labels, a))});
  window.clinometer = {state, live, errors, set, marks};  // For the tests.
})();
