// Names what ipywidgets leaves without one, for screen readers: slider handles, buttons with a
// sign for a face, pressed states, panels, charts. Names come from what the page shows already.
// And sees that a key that is pressed on a control gets there.
const WORD = /\p{L}{2}/u;
const LOOK_MS = 1000;

// Buttons that open something over the page: the feed's figures, the legend, the export's choices,
// the log; what is theirs, so that a press there does not close it.
const OWN = {
  ".pairlab-opener": ".pairlab-feed-box, .pairlab-feed-detail",
  ".pairlab-button-legend": ".pairlab-button-legend, .pairlab-legend",
  ".pairlab-button-more": ".pairlab-export",
  ".pairlab-event-button": "*", // it is read beside the charts
};
const OPENERS = Object.keys(OWN).join();
const openOf = (button) =>
  button.closest(button.matches(".pairlab-button-more") ? ".pairlab-export" : ".pairlab-event, .pairlab-status-bar");
const isOpen = (button) =>
  Boolean(openOf(button)?.classList.contains(
    button.matches(".pairlab-button-legend") ? "pairlab-legend-open" : "pairlab-open"));

// Escape closes what is open, and so does a press elsewhere; "?" opens and closes the legend. The
// kernel opens and closes: until it has, a second press must not ask again.
function closeOpened(event) {
  const all = [...document.querySelectorAll(".pairlab button")].filter((one) => one.matches(OPENERS));
  all.filter((one) => !isOpen(one)).forEach((one) => delete one.dataset.asked);
  const typed = event.target.closest?.("input, textarea, [contenteditable]");
  if (event.key === "?" && !typed && (event.target.closest?.(".pairlab") || event.target === document.body)) {
    (event.target.closest?.(".pairlab-dash") ?? document).querySelector(".pairlab-button-legend")?.click();
  }
  if (event.type !== "pointerdown" && event.key !== "Escape") return;
  const escape = event.key === "Escape";
  for (const button of all) {
    if (!isOpen(button) || button.dataset.asked) continue;
    const own = Object.entries(OWN).find(([kind]) => button.matches(kind))[1];
    if (!escape && (own === "*" || openOf(button).contains(event.target.closest?.(own) ?? null))) continue;
    button.dataset.asked = "yes";
    if (openOf(button).contains(document.activeElement)) button.focus();
    button.click();
  }
}

const textOf = (node) => (node?.textContent ?? "").replace(/[\u200b\s]+/g, " ").trim();

// Text of every piece by itself: "z" and "−0.90" stand in two elements without a space between.
const wordsOf = (node) => {
  const words = [];
  if (node) {
    const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) words.push(walker.currentNode.data.trim());
  }
  return words.filter(Boolean).join(" ");
};

const put = (node, name, value) => {
  if (node && value && node.getAttribute(name) !== value) node.setAttribute(name, value);
};

function nameButton(button) {
  if (button.matches(".widget-toggle-button")) {
    put(button, "aria-pressed", String(button.classList.contains("mod-active")));
  }
  if (button.matches(OPENERS)) put(button, "aria-expanded", String(isOpen(button)));
  if (button.closest(".widget-toggle-buttons")) return; // a word or a timeframe: their own names
  const face = textOf(button);
  const [title] = button.title.split("\n");
  if (title && !WORD.test(face)) {
    put(button, "aria-label", /\d/.test(face) ? `${title}: ${face}` : title);
  }
}

function nameSlider(handle) {
  const slider = handle.closest(".widget-slider");
  const value = handle.closest(".pairlab-row")?.querySelector(".pairlab-field input")?.value;
  put(handle, "aria-label", textOf(slider?.querySelector("label")));
  put(handle, "aria-valuetext", value); // the window's slider is logarithmic: 1.7 says nothing
  put(handle, "aria-disabled", String(Boolean(handle.closest("[disabled]"))));
}

function namePanel(panel) {
  const kind = panel.matches(".pairlab-status-bar") ? "Status" : panel.matches(".pairlab-event") ? "Events" : "";
  const title = kind || textOf(panel.querySelector("h3"));
  if (!title) return;
  put(panel, "role", "region");
  put(panel, "aria-label", title);
  const chart = panel.querySelector(".bqplot > svg");
  if (chart) {
    const head = panel.querySelector(".pairlab-head-text .widget-html-content");
    put(chart, "role", "img");
    put(chart, "aria-label", wordsOf(head));
  }
}

function nameAll() {
  const each = (what, name) => document.querySelectorAll(`.pairlab ${what}`).forEach(name);
  each(".noUi-handle", nameSlider);
  each("button", nameButton);
  each(".widget-toggle-buttons", (group) => {
    put(group, "role", "group");
    put(group, "aria-label", textOf(group.querySelector("label")));
  });
  // Where there is little room the label of a menu is not displayed.
  each(".widget-dropdown > select", (menu) => {
    put(menu, "aria-label", textOf(menu.parentElement.querySelector("label")));
  });
  document.querySelectorAll(".pairlab.pairlab-panel").forEach(namePanel);
  each(".pairlab-event-text .widget-html-content", (line) => put(line, "aria-live", "polite"));
}

// Keeps the names of everything of ours in the page up to date, and its keys; returns what ends it.
function keepNames() {
  const look = () => {
    if (document.visibilityState === "visible") nameAll();
  };
  const moved = (event) => {
    if (event.target.matches?.(".pairlab .noUi-handle")) nameSlider(event.target);
  };
  // Jupyter takes keys before the control that has the focus hears of them: in Notebook 7 an arrow
  // would leave a slider for the next cell, and "d d" would delete this one. Its combinations stay.
  const claim = (event) => {
    const { target, key, shiftKey } = event;
    if (!target.closest?.(".pairlab")) return;
    const jupyters = event.ctrlKey || event.metaKey || event.altKey || (shiftKey && key === "Enter");
    target.toggleAttribute("data-lm-suppress-shortcuts", !jupyters);
  };
  const timer = setInterval(look, LOOK_MS);
  window.addEventListener("pointerdown", closeOpened, true);
  window.addEventListener("keydown", closeOpened, true);
  window.addEventListener("keydown", claim, true);
  document.addEventListener("focusin", moved);
  document.addEventListener("keyup", moved);
  return () => {
    clearInterval(timer);
    window.removeEventListener("pointerdown", closeOpened, true);
    window.removeEventListener("keydown", closeOpened, true);
    window.removeEventListener("keydown", claim, true);
    document.removeEventListener("focusin", moved);
    document.removeEventListener("keyup", moved);
  };
}

