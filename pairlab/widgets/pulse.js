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
export default { render };
