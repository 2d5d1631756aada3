// The table and the heat map of a board. The kernel sends what is on the page; cells that have not
// changed are left alone. It is told that a frame has been drawn, and once a second that the page is
// looked at.
const COLUMNS = [
  ["pair", "Pair", "y / x"],
  ["word", "Signal", "Position of the spread, or what is wrong with the feeds"],
  ["z", "z", "Standard deviations from the mean"],
  ["spark", "z, last 300 rows", "From −4 to 4"],
  ["corr", "ρ", "Correlation over the window"],
  ["p", "p", "Of the stationarity test"],
  ["half", "Half-life", "Of a deviation, in rows"],
  ["dev", "Deviation", "In costs of a round trip of both legs"],
  ["ages", "Age y / x, s", "Since each leg has traded"],
];
const SIGNS = { long: "▲", short: "▼", flat: "–", failed: "✕", stalled: "!", waiting: "○" };
const CELL = 30, HEIGHT = 18, GAP = 2;

function make(tag, name, parent, text = "") {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text) node.textContent = text;
  parent?.append(node);
  return node;
}
const put = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

function sparkline(points) {
  let path = "", pen = "M";
  points.forEach((height, at) => {
    if (height === null) pen = "M";
    else {
      path += `${pen}${(at * 100) / Math.max(points.length - 1, 1)} ${20 - height / 5}`;
      pen = "L";
    }
  });
  return path;
}

function makeRow(body, open) {
  const row = make("tr", "", body);
  const cells = Object.fromEntries(
    COLUMNS.map(([name]) => [name, make("td", `pairlab-board-${name}`, row)]),
  );
  // A button, so that the keyboard opens it as well.
  const button = make("button", "pairlab-board-open", cells.pair);
  const y = make("span", "pairlab-board-y", button);
  make("i", "", button, " / ");
  const x = make("span", "pairlab-board-x", button);
  const chip = make("span", "", cells.word);
  cells.spark.innerHTML =
    '<svg viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">' +
    '<path class="pairlab-board-zero" d="M0 10H100"/><path class="pairlab-board-line"/></svg>';
  const line = cells.spark.querySelector(".pairlab-board-line");
  let at = -1;
  row.addEventListener("click", () => at >= 0 && open(at));
  return (given) => {
    row.hidden = !given;
    at = given ? given.i : -1;
    if (!given) return;
    put(y, given.y);
    put(x, given.x);
    put(chip, `${SIGNS[given.kind]} ${given.word}`);
    chip.className = `pairlab-board-chip pairlab-board-${given.kind}`;
    for (const name of ["z", "corr", "p", "half", "dev", "ages"]) put(cells[name], given[name]);
    const path = sparkline(given.spark);
    if (line.getAttribute("d") !== path) line.setAttribute("d", path);
    if (row.title !== given.tip) row.title = given.tip;
    button.setAttribute("aria-label", `${given.y} / ${given.x}, open its dashboard`);
  };
}

function drawMap(canvas, pairs, z) {
  const width = canvas.clientWidth, columns = Math.max(Math.floor((width + GAP) / (CELL + GAP)), 1);
  const height = Math.ceil(pairs.length / columns) * (HEIGHT + GAP);
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
  }
  const style = getComputedStyle(canvas), token = (name) => style.getPropertyValue(`--pairlab-${name}`);
  const colours = { y: token("y"), x: token("x"), none: token("raised"), text: token("text") };
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `600 10px ${style.fontFamily}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pairs.forEach((_, at) => {
    const left = (at % columns) * (CELL + GAP), top = Math.floor(at / columns) * (HEIGHT + GAP);
    const value = z[at], known = Number.isFinite(value);
    pen.globalAlpha = 1;
    pen.fillStyle = colours.none;
    pen.fillRect(left, top, CELL, HEIGHT);
    if (known) {
      pen.globalAlpha = Math.min(Math.abs(value) / 4, 1) * 0.6;
      pen.fillStyle = value < 0 ? colours.y : colours.x;
      pen.fillRect(left, top, CELL, HEIGHT);
      pen.globalAlpha = 1;
    }
    pen.fillStyle = colours.text;
    const text = known ? `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}` : "–";
    pen.fillText(text, left + CELL / 2, top + HEIGHT / 2 + 0.5);
  });
  return (event) => {
    const column = Math.floor(event.offsetX / (CELL + GAP));
    const at = Math.floor(event.offsetY / (HEIGHT + GAP)) * columns + column;
    return column < columns && at < pairs.length ? at : -1;
  };
}

function render({ model, el }) {
  const say = (what) => {
    try {
      model.send(what);
    } catch (error) {
      console.debug("pairlab: the kernel cannot be reached", error);
    }
  };
  const open = (at) => say({ open: at });
  el.classList.add("pairlab-board-body");
  const panel = make("div", "pairlab-board-panel pairlab-board-table", el);
  const head = make("div", "pairlab-board-head", panel);
  make("h3", "", head, "Pairs");
  make("small", "", head, "what needs attention first · a click opens the pair");
  const where = make("small", "pairlab-board-where", head);
  const newer = make("button", "", head, "‹"), older = make("button", "", head, "›");
  newer.setAttribute("aria-label", "Pairs before");
  older.setAttribute("aria-label", "Pairs after");
  newer.addEventListener("click", () => say({ page: -1 }));
  older.addEventListener("click", () => say({ page: 1 }));
  // Lines stay where they are under the mouse, or a hand would open another pair than it aimed at.
  panel.addEventListener("mouseenter", () => say({ hold: true }));
  panel.addEventListener("mouseleave", () => say({ hold: false }));
  const table = make("table", "", panel);
  const names = make("tr", "", make("thead", "", table));
  COLUMNS.forEach(([name, text, tip]) => {
    const cell = make("th", `pairlab-board-${name}`, names, text);
    cell.scope = "col";
    cell.title = tip;
  });
  const body = make("tbody", "", table), rows = [];
  const map = make("div", "pairlab-board-panel pairlab-board-map", el);
  const mapHead = make("div", "pairlab-board-head", map);
  make("h3", "", mapHead, "z of every pair");
  const pointed = make("small", "", mapHead);
  const canvas = make("canvas", "", map);
  canvas.setAttribute("role", "img");
  let pairs = [], z = new Float32Array(), find = () => -1;
  const told = (at) => {
    const text = Number.isFinite(z[at]) ? `${z[at] < 0 ? "−" : "+"}${Math.abs(z[at]).toFixed(2)}` : "–";
    return `${pairs[at]}: ${text}`;
  };
  canvas.addEventListener("mousemove", (event) => {
    const at = find(event);
    put(pointed, at < 0 ? "" : told(at));
    canvas.style.cursor = at < 0 ? "" : "pointer";
  });
  canvas.addEventListener("mouseleave", () => put(pointed, ""));
  canvas.addEventListener("click", (event) => find(event) >= 0 && open(find(event)));
  const paint = () => {
    if (canvas.clientWidth) find = drawMap(canvas, pairs, z);
  };
  let inSight = true;
  const hear = (frame, buffers) => {
    if (frame.pairs) pairs = frame.pairs;
    const bytes = buffers[0];
    z = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
    while (rows.length < frame.lines.length) rows.push(makeRow(body, open));
    rows.forEach((set, at) => set(frame.lines[at]));
    put(where, `page ${frame.page + 1} of ${frame.pages} · ${frame.total} pairs`);
    newer.disabled = frame.page === 0;
    older.disabled = frame.page >= frame.pages - 1;
    const far = z.reduce((count, value) => count + (Math.abs(value) >= 2), 0);
    canvas.setAttribute("aria-label", `Heat map of z: ${far} of ${pairs.length} pairs beyond 2`);
    paint();
    requestAnimationFrame(() => requestAnimationFrame(() => inSight && say({ drawn: true })));
  };
  model.on("msg:custom", hear);
  const size = new ResizeObserver(paint);
  size.observe(canvas);
  // Whether any of the board can be seen: not in another tab of JupyterLab, nor scrolled away.
  const eye = new IntersectionObserver((entries) => {
    inSight = entries.at(-1).isIntersecting;
    if (inSight) say({ drawn: true });
  });
  let watched = null;
  const here = setInterval(() => {
    if (!watched && el.isConnected) eye.observe((watched = el.closest(".pairlab-board") ?? el));
    if (!document.hidden && el.isConnected && inSight) say({ here: true });
  }, 1000);
  say({ opened: true });
  return () => {
    clearInterval(here);
    eye.disconnect();
    size.disconnect();
    model.off("msg:custom", hear);
  };
}
export default { render };
