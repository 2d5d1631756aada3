// One for each page, which loads this once for each lab: it takes the kernel's bundles apart, and
// answers every frame once the browser has drawn it. Every part of the lab has a view of it, so
// that there is one wherever parts are put, and the page can say which parts it shows; however many
// there are, it answers once.
const page = Math.random().toString(36).slice(2);
const TELL_MS = 20; // what is shown changes for many parts at once
const ATTACHED_MS = 50;
const parts = new Map(); // by view: the part that it stands in

function initialize({ model }) {
  let newest = null;
  const drawn = () => {
    if (parts.size) model.send({ page, drawn: newest });
    newest = null;
  };
  const save = async (job, buffers) => {
    // Of several pages that show the button, the one in which it was pressed.
    if (!job.pages.includes(page) || (job.pages.length > 1 && !document.hasFocus())) return;
    const failed = await saveFile(job, buffers).then(() => null, String); // in export.js
    model.send({ page, saved: job.token, failed });
  };
  const heard = ({ updates, frame, job }, buffers) => {
    if (job) save(job, buffers);
    if (updates) takeApart(model.widget_manager, updates, buffers); // in bundle.js
    if (frame === undefined || !parts.size) return;
    const waits = newest !== null;
    newest = frame;
    // Before the second animation frame begins, the first, with all that came before it, has been
    // drawn. A page that nobody sees draws nothing, and so does not answer until it is seen again.
    if (!waits) requestAnimationFrame(() => requestAnimationFrame(drawn));
  };
  // The kernel speaks through the layout, a plain model. anywidget keeps messages to one of its own
  // until the script is there, and a page where that took over 2 s would never hear any.
  const carrier = model.get("layout");
  carrier.on("msg:custom", heard);
  return () => carrier.off("msg:custom", heard);
}

let endNames = null, telling = null;
function render({ model, el }) {
  const tell = () => {
    telling ??= setTimeout(() => {
      telling = null;
      model.send({ page, shows: [...new Set(parts.values())] });
    }, TELL_MS);
  };
  el.style.display = "none";
  const looking = setInterval(() => {
    if (!el.isConnected) return; // not before it stands in the page
    clearInterval(looking);
    if (!parts.size) endNames = keepNames(); // in labels.js
    const [, part] = el.parentElement.className.match(/(?:^|\s)pairlab-([0-9a-f]{32})(?:\s|$)/) ?? [];
    parts.set(el, part ?? "*"); // where that cannot be told: any of them
    tell();
  }, ATTACHED_MS);
  return () => {
    clearInterval(looking);
    if (!parts.delete(el)) return;
    if (!parts.size) endNames();
    tell();
  };
}
export default { initialize, render };
