// Takes apart what bundle.py put together: each update goes to its model as if it had come alone.
function initialize({ model }) {
  const manager = model.widget_manager;
  const takeApart = ({ updates }, buffers) => {
    let at = 0;
    for (const { id, state, paths, buffers: count } of updates ?? []) {
      const own = buffers.slice(at, (at += count));
      // A page that is still loading may not have the model: the healer says it again.
      if (!manager.has_model(id)) continue;
      paths.forEach((path, n) => {
        const last = path.slice(0, -1).reduce((inside, key) => inside[key], state);
        last[path.at(-1)] = own[n];
      });
      manager.get_model(id).then((target) => {
        target.state_change = target.state_change
          .then(() => target.constructor._deserialize_state(state, manager))
          .then((made) => target.set_state(made))
          .catch((error) => console.error("pairlab: an update failed", error));
      });
    }
  };
  model.on("msg:custom", takeApart);
  return () => model.off("msg:custom", takeApart);
}
// Answers every frame once the browser has drawn it, and says when a view opens and closes.
function render({ model, el }) {
  const view = Math.random().toString(36).slice(2);
  const say = (what) => model.send({ view, ...what });
  let newest = null;
  const drawn = () => {
    say({ drawn: newest });
    newest = null;
  };
  const heard = ({ frame }) => {
    if (frame === undefined) return;
    const waits = newest !== null;
    newest = frame;
    // Before the second animation frame begins, the first, with all that came before it, has been
    // drawn. A page that nobody sees draws nothing, and so does not answer until it is seen again.
    if (!waits) requestAnimationFrame(() => requestAnimationFrame(drawn));
  };
  el.style.display = "none";
  const endNames = keepNames(el); // in labels.js
  model.on("msg:custom", heard);
  say({ opened: true });
  return () => {
    endNames();
    model.off("msg:custom", heard);
    say({ closed: true });
  };
}
export default { initialize, render };
