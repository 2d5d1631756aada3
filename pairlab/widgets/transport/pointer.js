// Says where in a chart the mouse is, at most once a frame and every 50 ms; and when it leaves.
// bqplot's own selector follows the mouse only after a click.
const EVERY_MS = 50;

function render({ model, el }) {
  let chart = null, inside = false, share = 0, timer = null;
  const say = (where) => {
    try {
      model.send({ share: where });
    } catch {
      // the kernel restarts: nobody reads
    }
  };
  const tell = () => {
    timer = null;
    if (inside) say(share);
  };
  const leave = () => {
    if (inside) say(null);
    inside = false;
  };
  const move = (event) => {
    const plot = chart.querySelector(".selectormouse"); // not there while a drag would select
    const box = plot?.getBoundingClientRect();
    share = box ? (event.clientX - box.left) / box.width : -1;
    if (!(share >= 0 && share <= 1 && event.clientY >= box.top && event.clientY <= box.bottom)) {
      leave();
      return;
    }
    inside = true;
    timer ??= setTimeout(tell, EVERY_MS);
  };
  const looking = setInterval(() => {
    chart = el.closest(".pairlab-chart"); // not before it stands in the page
    if (!chart) return;
    clearInterval(looking);
    chart.addEventListener("mousemove", move);
    chart.addEventListener("mouseleave", leave);
    window.addEventListener("pagehide", leave);
  }, 200);
  return () => {
    clearInterval(looking);
    clearTimeout(timer);
    leave();
    window.removeEventListener("pagehide", leave);
    chart?.removeEventListener("mousemove", move);
    chart?.removeEventListener("mouseleave", leave);
  };
}

export default { render };
