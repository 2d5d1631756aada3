// One number of every pair as a map of cells, symbols in the order of a clustering.
const LABEL_PX = 9; // a cell that is smaller has no label
const MAX_LABEL = 76;

const rgb = (text) => {
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  probe.fillStyle = text.trim();
  probe.fillRect(0, 0, 1, 1);
  return [...probe.getImageData(0, 0, 1, 1).data.slice(0, 3)];
};

const mixed = (one, two, share) => one.map((value, n) => Math.round(value + (two[n] - value) * share));

const told = (value, of) => {
  if (!Number.isFinite(value)) return "–";
  if (of === "p" && value < 0.001) return value < 1e-6 ? "<0.000001" : value.toPrecision(2);
  return value.toFixed(of === "p" ? 3 : 2).replace("-", "−");
};

export default {
  render({ model, el }) {
    el.classList.add("pairlab-matrix");
    const head = document.createElement("div");
    head.className = "pairlab-matrix-head";
    const modes = document.createElement("div");
    modes.className = "pairlab-matrix-modes";
    modes.setAttribute("role", "group");
    modes.setAttribute("aria-label", "What the map shows");
    head.append(modes);
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", "Map of all pairs: arrow keys move, Enter opens the pair");
    const says = document.createElement("p");
    says.className = "pairlab-matrix-says";
    says.setAttribute("aria-live", "polite");
    el.append(head, canvas, says);

    const symbols = () => model.get("symbols");
    let mode = model.get("names")[0];
    let values = {};
    let at = null;
    let edge = 0;
    let cell = 1;

    const read = () => {
      values = {};
      model.get("names").forEach((name, n) => {
        const view = model.get("values")[n];
        const copy = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
        values[name] = new Float32Array(copy);
      });
    };

    const draw = () => {
      const count = symbols().length;
      const wide = Math.floor(el.clientWidth);
      if (!wide || !count) return;
      const style = getComputedStyle(el);
      const colour = (name) => rgb(style.getPropertyValue(`--pairlab-${name}`));
      const [panel, good, other, none] = ["panel", "corr", "x", "raised"].map(colour);
      const ratio = window.devicePixelRatio || 1;
      const longest = Math.max(...symbols().map((name) => name.length));
      const label = Math.min(MAX_LABEL, 6 * longest + 4);
      const labelled = (wide - label) / count >= LABEL_PX;
      edge = labelled ? label : 0;
      cell = (wide - edge) / count;
      const high = wide - edge;
      canvas.style.width = `${wide}px`;
      canvas.style.height = `${high}px`;
      canvas.width = Math.round(wide * ratio);
      canvas.height = Math.round(high * ratio);
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      pen.fillStyle = `rgb(${panel})`;
      pen.fillRect(0, 0, wide, high);
      const of = values[mode];
      const gap = cell > 6 ? 1 : 0;
      for (let row = 0; row < count; row++) {
        for (let column = 0; column < count; column++) {
          if (row === column) continue;
          const value = of[row * count + column];
          let fill = none;
          if (Number.isFinite(value)) {
            const share = mode === "p" ? Math.min(-Math.log10(Math.max(value, 1e-12)) / 4, 1) : Math.abs(value);
            fill = mixed(panel, mode === "p" || value > 0 ? good : other, 0.04 + 0.96 * share ** 1.5);
          }
          pen.fillStyle = `rgb(${fill})`;
          pen.fillRect(edge + column * cell, row * cell, Math.max(cell - gap, 0.5), Math.max(cell - gap, 0.5));
        }
      }
      if (labelled) {
        pen.fillStyle = style.getPropertyValue("--pairlab-muted");
        pen.font = `${Math.min(10, Math.floor(cell))}px ${style.fontFamily}`;
        pen.textAlign = "right";
        pen.textBaseline = "middle";
        symbols().forEach((name, n) => pen.fillText(name, edge - 4, (n + 0.5) * cell, edge - 4));
      }
      if (at) {
        pen.strokeStyle = style.getPropertyValue("--pairlab-focus");
        pen.lineWidth = 2;
        pen.strokeRect(edge + at[1] * cell - 1, at[0] * cell - 1, cell + 1, cell + 1);
      }
    };

    const say = () => {
      const count = symbols().length;
      if (!at) says.textContent = model.get("words");
      else if (at[0] === at[1]) says.textContent = symbols()[at[0]];
      else {
        const numbers = model.get("names").map(
          (name, n) => `${model.get("labels")[n]} ${told(values[name][at[0] * count + at[1]], name)}`,
        );
        says.textContent = `${symbols()[at[0]]} / ${symbols()[at[1]]}: ${numbers.join(", ")}`;
      }
    };

    const move = (row, column) => {
      const last = symbols().length - 1;
      const next = [row, column].map((n) => Math.min(Math.max(n, 0), last));
      if (at && at[0] === next[0] && at[1] === next[1]) return;
      at = next;
      draw();
      say();
    };
    const under = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientY - box.top, event.clientX - box.left - edge].map((px) => Math.floor(px / cell));
    };
    const open = () => {
      if (at && at[0] !== at[1]) model.send({ open: [symbols()[at[0]], symbols()[at[1]]] });
    };
    canvas.addEventListener("pointermove", (event) => {
      const [row, column] = under(event);
      if (column >= 0) move(row, column);
    });
    canvas.addEventListener("click", (event) => {
      const [row, column] = under(event);
      if (column < 0) return;
      move(row, column);
      open();
    });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (step) {
        const [row, column] = at ?? [0, 0];
        move(row + step[0], column + step[1]);
        event.preventDefault();
      } else if (event.key === "Enter") open();
    });

    const buttons = model.get("names").map((name, n) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = model.get("labels")[n];
      button.addEventListener("click", () => choose(name));
      modes.append(button);
      return button;
    });
    const choose = (name) => {
      mode = name;
      buttons.forEach((button, n) => button.setAttribute("aria-pressed", String(model.get("names")[n] === name)));
      draw();
    };
    read();
    choose(mode);
    say();
    const sized = new ResizeObserver(draw);
    sized.observe(el);
    const themed = new MutationObserver(draw);
    themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
    return () => {
      sized.disconnect();
      themed.disconnect();
    };
  },
};
