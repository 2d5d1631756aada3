// bqplot draws by d3's transitions even where they last 0 ms: one interpolates the strings of two
// paths, which costs several times what drawing does. In our charts, which do not animate, what
// bqplot asks a transition to do is done at once.
let still = false;
function standStill(selection) {
  still = true;
  const d3 = Object.getPrototypeOf(selection);
  const { transition } = d3;
  if (transition.pairlab) return; // another lab's script was here
  d3.duration ??= function () {
    return this;
  };
  d3.transition = function (name) {
    return this.node()?.closest(".pairlab-chart") ? this.interrupt(name) : transition.call(this, name);
  };
  d3.transition.pairlab = true;
}

const failed = (error) => console.error("pairlab: an update failed", error);

// Takes apart what bundle.py put together: each update goes to its model as if it had come alone.
function takeApart(manager, updates, buffers) {
  let at = 0;
  for (const { id, state, paths, buffers: count } of updates) {
    const own = buffers.slice(at, (at += count));
    // A page that is still loading may not have the model: the healer says it again.
    if (!manager.has_model(id)) continue;
    paths.forEach((path, n) => {
      const last = path.slice(0, -1).reduce((inside, key) => inside[key], state);
      last[path.at(-1)] = own[n];
    });
    manager.get_model(id).then((target) => {
      const [view] = still ? [] : Object.values(target.views ?? {});
      const calm = ({ d3el }) => still || !d3el?.transition || standStill(d3el);
      view?.then(calm, () => {}); // why there is no view is told by whoever wanted one
      target.state_change = target.state_change
        .then(() => target.constructor._deserialize_state(state, manager))
        .then((made) => target.set_state(made))
        .catch(failed);
    }).catch(failed);
  }
}

