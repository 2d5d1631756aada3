// Says where in a chart the mouse is, at most once a frame and every 50 ms; and when it leaves.
// bqplot's own selector follows the mouse only after a click. A drag moves the view in time.
const EVERY_MS = 50;
const DRAG_PX = 4; // less is a click

function render({ model, el }) {
  let chart = null, inside = false, share = 0, timer = null, drag = null, clicks = true;
  const say = (what) => {
    try {
      model.send(what);
    } catch {
      // the kernel restarts: nobody reads
    }
  };
  const tell = () => {
    timer = null;
    if (drag?.begun) say({ drag: { by: drag.by, phase: "move" } });
    else if (inside) say({ share });
  };
  const leave = () => {
    if (inside) say({ share: null });
    inside = false;
  };
  const plotBox = () => // not there while a drag would select
    chart.querySelector(".selectormouse")?.getBoundingClientRect();
  const move = (event) => {
    if (drag) return;
    const box = plotBox();
    share = box ? (event.clientX - box.left) / box.width : -1;
    if (!(share >= 0 && share <= 1 && event.clientY >= box.top && event.clientY <= box.bottom)) {
      leave();
      return;
    }
    inside = true;
    timer ??= setTimeout(tell, EVERY_MS);
  };
  const press = (event) => {
    clicks = true;
    const box = event.button === 0 ? plotBox() : null;
    const { clientX: x, clientY: y } = event;
    if (!box || x < box.left || x > box.right || y < box.top || y > box.bottom) return;
    event.preventDefault(); // selects no text on the way
    drag = { x, width: box.width, by: 0, begun: false };
  };
  const pull = (event) => {
    if (!drag) return;
    if (!(event.buttons & 1)) {
      release(); // let go outside of the window
      return;
    }
    drag.by = (event.clientX - drag.x) / drag.width;
    if (!drag.begun) {
      if (Math.abs(event.clientX - drag.x) < DRAG_PX) return;
      drag.begun = true;
      leave();
      chart.classList.add("pairlab-dragged");
      say({ drag: { by: drag.by, phase: "begin" } });
    }
    timer ??= setTimeout(tell, EVERY_MS);
  };
  const release = () => {
    if (drag?.begun) {
      say({ drag: { by: drag.by, phase: "end" } });
      chart.classList.remove("pairlab-dragged");
      clicks = false;
    }
    drag = null;
  };
  const click = (event) => { // the one that ends a drag is none
    if (!clicks) event.stopPropagation();
    clicks = true;
  };
  const looking = setInterval(() => {
    chart = el.closest(".pairlab-chart"); // not before it stands in the page
    if (!chart) return;
    clearInterval(looking);
    chart.addEventListener("mousemove", move);
    chart.addEventListener("mouseleave", leave);
    chart.addEventListener("mousedown", press);
    chart.addEventListener("click", click, true);
    window.addEventListener("mousemove", pull);
    window.addEventListener("mouseup", release);
    window.addEventListener("pagehide", leave);
  }, 200);
  return () => {
    clearInterval(looking);
    clearTimeout(timer);
    leave();
    for (const [name, heard] of [["pagehide", leave], ["mousemove", pull], ["mouseup", release]])
      window.removeEventListener(name, heard);
    chart?.removeEventListener("mousemove", move);
    chart?.removeEventListener("mouseleave", leave);
    chart?.removeEventListener("mousedown", press);
    chart?.removeEventListener("click", click, true);
  };
}

export default { render };
