const failed = (error) => console.error("pairlab: an update failed", error);

// Takes apart what message_batching.py put together: each update goes to its model as if it had come alone.
function takeApart(manager, updates, buffers) {
  let at = 0;
  for (const { id, state, paths, buffers: count } of updates) {
    const own = buffers.slice(at, (at += count));
    // A page that is still loading may not have the model: the resync sends it again.
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

