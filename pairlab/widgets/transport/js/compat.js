// bqplot draws by d3's transitions even where they last 0 ms: one interpolates the strings of two
// paths, which costs several times what drawing does. In our charts, which do not animate, what
// bqplot asks a transition to do is done at once.
let still = false;
function standStill(selection) {
  still = true;
  const d3 = Object.getPrototypeOf(selection);
  const { transition } = d3;
  if (typeof transition !== "function" || typeof d3.interrupt !== "function") return; // another d3
  if (transition.pairlab) return; // another lab's script was here
  d3.duration ??= function () {
    return this;
  };
  d3.transition = function (name) {
    return this.node()?.closest(".pairlab-chart") ? this.interrupt(name) : transition.call(this, name);
  };
  d3.transition.pairlab = true;
}
