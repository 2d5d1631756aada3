// A page of a table: heads sort, rows open, a field filters. What is shown is the kernel's.
const FILTER_MS = 250;

const made = (name, of, text) => {
  const node = document.createElement(name);
  if (of) node.className = of;
  if (text !== undefined) node.textContent = text;
  return node;
};

export default {
  render({ model, el }) {
    el.classList.add("pairlab-pairs");
    const head = made("div", "pairlab-pairs-head");
    const title = made("h3", "", "Pairs");
    const where = made("small", "pairlab-pairs-where");
    where.setAttribute("aria-live", "polite");
    const field = made("input", "pairlab-pairs-filter");
    field.type = "search";
    field.placeholder = "BTC q<0.05 half_life<48 candidate";
    field.setAttribute("aria-label", "Filter of pairs: parts of symbols or verdicts, and conditions");
    const turns = [["‹", "Pairs before these", -1], ["›", "Pairs after these", 1]].map(
      ([face, name, step]) => {
        const button = made("button", "pairlab-turn", face);
        button.type = "button";
        button.title = name;
        button.setAttribute("aria-label", name);
        button.addEventListener("click", () => model.send({ turn: step }));
        return button;
      },
    );
    head.append(title, where, field, ...turns);
    const words = made("p", "pairlab-pairs-words");
    words.setAttribute("role", "status");
    const scroll = made("div", "pairlab-pairs-scroll");
    const table = made("table");
    scroll.append(table);
    el.append(head, words, scroll);

    let later = 0;
    field.addEventListener("input", () => {
      clearTimeout(later);
      later = setTimeout(() => model.send({ filter: field.value }), FILTER_MS);
    });

    const show = () => {
      const page = model.get("page");
      if (document.activeElement !== field) field.value = page.filter;
      where.textContent = page.where;
      words.textContent = page.words;
      words.hidden = !page.words;
      turns[0].disabled = page.first;
      turns[1].disabled = page.last;
      const kept = document.activeElement?.closest?.("th, tr");
      const at = table.contains(kept) ? [kept.tagName, kept.dataset.at] : null;
      const heads = made("tr");
      for (const column of page.columns) {
        const cell = made("th", column.of);
        cell.scope = "col";
        cell.dataset.at = column.id;
        const sorted = page.sort === column.id;
        cell.setAttribute("aria-sort", sorted ? (page.descending ? "descending" : "ascending") : "none");
        const button = made("button", "", column.name + (sorted ? (page.descending ? " ▾" : " ▴") : ""));
        button.type = "button";
        button.title = column.tip;
        button.addEventListener("click", () => model.send({ sort: column.id }));
        cell.append(button);
        heads.append(cell);
      }
      const body = made("tbody");
      for (const row of page.rows) {
        const line = made("tr", row.chosen ? "pairlab-chosen" : "");
        line.tabIndex = 0;
        line.dataset.at = row.at;
        line.setAttribute("aria-selected", String(row.chosen));
        row.cells.forEach(([text, tone], n) => {
          const cell = made("td", page.columns[n].of, text);
          if (tone) cell.style.color = `var(--pairlab-${tone})`;
          if (page.columns[n].of.includes("words")) cell.title = text;
          line.append(cell);
        });
        const open = () => model.send({ open: row.at });
        line.addEventListener("click", open);
        line.addEventListener("keydown", (event) => {
          const near = { ArrowDown: line.nextSibling, ArrowUp: line.previousSibling }[event.key];
          if (near) near.focus();
          if (event.key === "Enter" || event.key === " ") open();
          if (near || event.key === " ") event.preventDefault();
        });
        body.append(line);
      }
      const thead = made("thead");
      thead.append(heads);
      table.replaceChildren(thead, body);
      if (at) {
        const again = [...table.querySelectorAll(at[0])].find((node) => node.dataset.at === at[1]);
        (at[0] === "TH" ? again?.firstChild : again)?.focus();
      }
    };
    model.on("change:page", show);
    show();
    return () => {
      clearTimeout(later);
      model.off("change:page", show);
    };
  },
};
