// The still picture that the kernel puts before each view is for a notebook without its kernel: it
// is hidden while the views are there. And a saved notebook is to say so where they stood, instead
// of that a widget's model was not found.
const STILL_LOOK_MS = 1000;
const STATE = "application/vnd.jupyter.widget-state+json";
const SAVED_WORDS = "<i>Saved picture: run the cell for the live view.</i>";

function hideStill(el) {
  const before = el.closest(".jp-OutputArea-child")?.previousElementSibling;
  const image = before?.querySelector("img[src^='data:image/png;base64,']");
  // Its metadata come first; 200 bytes of them are enough to know whose picture it is.
  if (image && atob(image.src.slice(22, 22 + 272)).includes("pairlab")) before.style.display = "none";
}

// In JupyterLab and Notebook a file's metadata can hold models of widgets for whoever opens it
// without their kernel: one line of text in place of each view, unless Jupyter saves their state.
function describeViews(notebook, ids) {
  const saved = notebook.getMetadata("widgets") ?? {};
  const cells = JSON.stringify(notebook.toJSON().cells);
  const state = {};
  for (const [id, known] of Object.entries(saved[STATE]?.state ?? {})) {
    const ours = known.state?.value?.startsWith?.("<i>Saved picture");
    if (!ours || cells.includes(id)) state[id] = known;
  }
  for (const id of ids) {
    if (id === "*" || !cells.includes(id)) continue; // "*" stands for one that is not known
    state[id] ??= { model_name: "HTMLModel", model_module: "@jupyter-widgets/controls",
      model_module_version: "2.0.0", state: { value: SAVED_WORDS } };
  }
  notebook.setMetadata("widgets", { ...saved, [STATE]: { version_major: 2, version_minor: 0, state } });
}

function keepStill(model, parts) {
  const look = () => [...parts.keys()].forEach(hideStill);
  const timer = setInterval(look, STILL_LOOK_MS);
  const context = model.widget_manager?.context;
  const save = (_, stage) => {
    const notebook = context.model;
    if (stage === "started" && notebook?.setMetadata) describeViews(notebook, new Set(parts.values()));
  };
  context?.saveState?.connect(save);
  return () => {
    clearInterval(timer);
    context?.saveState?.disconnect(save);
  };
}
