// One for each page, which loads this once for each lab: it takes the kernel's bundles apart, and
// answers every frame once the browser has drawn it. Every part of the lab has a view of it, so
// that there is one wherever parts are put, and the page can say which parts it shows; however many
// there are, it answers once.
const page = Math.random().toString(36).slice(2);
const TELL_MS = 20; // what is shown changes for many parts at once
const ATTACHED_MS = 50;
const parts = new Map(); // by view: the part that it stands in
const inSight = new Set(); // the views whose part can be seen: neither scrolled nor tabbed away
const known = new Set(); // the parts that the kernel has been told of
let watch = null;

const shown = () =>
  document.hidden ? [] : [...new Set([...parts].filter(([el]) => inSight.has(el)).map(([, id]) => id))];

// A kernel that restarts, or has died, cannot be told anything.
function say(model, what) {
  try {
    model.send({ page, ...what });
  } catch (error) {
    console.debug("pairlab: the kernel cannot be reached", error);
  }
}

function initialize({ model }) {
  let newest = null;
  const drawn = () => {
    const shows = shown();
    if (shows.length) say(model, { drawn: newest, shows });
    newest = null;
  };
  const save = async (job, buffers) => {
    // Of several pages that show the button, the one in which it was pressed.
    if (!job.pages.includes(page) || (job.pages.length > 1 && !document.hasFocus())) return;
    const failed = await saveFile(job, buffers).then(() => null, String); // in export.js
    say(model, { saved: job.token, failed });
  };
  watch = watchKernel(model, parts, (what) => say(model, what)); // in watch.js
  const heard = ({ updates, frame, job, beat }, buffers) => {
    watch.heard(beat);
    if (job) save(job, buffers);
    if (updates) takeApart(model.widget_manager, updates, buffers); // in message_batching.js
    if (frame === undefined || !shown().length) return;
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
  // A file is saved by the page in which it was asked for. And a slider says its value whether a
  // hand moved it or the kernel did: the kernel is told of a hand before.
  const touched = ({ target, repeat }) => {
    if (repeat || !target.closest) return;
    if (target.closest(".pairlab-export")) say(model, { pressed: true });
    const row = target.closest(".pairlab-row")?.className.match(/pairlab-row-(\w+)/);
    if (row) say(model, { hand: row[1] });
  };
  const hands = ["pointerdown", "keydown"];
  hands.forEach((kind) => window.addEventListener(kind, touched, true));
  const endStill = keepStill(model, parts); // in still.js
  return () => {
    watch.end();
    endStill();
    carrier.off("msg:custom", heard);
    hands.forEach((kind) => window.removeEventListener(kind, touched, true));
  };
}

let endNames = null, telling = null;
function tellLater(model) {
  telling ??= setTimeout(() => {
    telling = null;
    const shows = shown();
    const seen = shows.every((id) => known.has(id)); // it has all that was sent: nothing is missing
    shows.forEach((id) => known.add(id));
    say(model, { shows, seen });
  }, TELL_MS);
}

function render({ model, el }) {
  const tell = () => tellLater(model);
  // Also tells of a tab in the background of JupyterLab, which is not displayed.
  const eye = new IntersectionObserver((entries) => {
    inSight[entries.at(-1).isIntersecting ? "add" : "delete"](el);
    tell();
  });
  el.style.display = "none";
  const looking = setInterval(() => {
    if (!el.isConnected) return; // not before it stands in the page
    clearInterval(looking);
    if (!parts.size) endNames = keepNames(); // in labels.js
    const [, part] = el.parentElement.className.match(/(?:^|\s)pairlab-([0-9a-f]{32})(?:\s|$)/) ?? [];
    parts.set(el, part ?? "*"); // where that cannot be told: any of them
    watch.attached();
    eye.observe(el.parentElement);
    document.addEventListener("visibilitychange", tell);
  }, ATTACHED_MS);
  return () => {
    clearInterval(looking);
    eye.disconnect();
    document.removeEventListener("visibilitychange", tell);
    inSight.delete(el);
    if (!parts.delete(el)) return;
    if (!parts.size) endNames();
    tell();
  };
}
export default { initialize, render };
