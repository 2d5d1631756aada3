// One for each page, which loads this once for each lab: it takes the kernel's bundles apart, and
// answers every frame once the browser has drawn it. Every part of the lab has a view of it, so
// that there is one wherever parts are put; however many there are, the page answers once.
const page = Math.random().toString(36).slice(2);
let views = 0;

function initialize({ model }) {
  let newest = null;
  const drawn = () => {
    if (views) model.send({ page, drawn: newest });
    newest = null;
  };
  const heard = ({ updates, frame }, buffers) => {
    if (updates) takeApart(model.widget_manager, updates, buffers); // in bundle.js
    if (frame === undefined || !views) return;
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

// Says that a view has opened, which may have missed what was sent meanwhile, and when none is left.
let endNames = null;
function render({ model, el }) {
  el.style.display = "none";
  if (views++ === 0) endNames = keepNames(); // in labels.js
  model.send({ page, opened: true });
  return () => {
    views -= 1;
    if (views) return;
    endNames();
    model.send({ page, closed: true });
  };
}
export default { initialize, render };
