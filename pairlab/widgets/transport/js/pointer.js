// Says where in a chart the mouse is, at most once a frame and every 50 ms; and when it leaves.
// bqplot's own selector follows the mouse only after a click. A drag moves the view in time, the
// wheel and two fingers zoom it where they are, a double click takes all that back.
const EVERY_MS = 50;
const DRAG_PX = 4; // less is a click
const ZOOM_PER_PX = 0.0015; // a notch of most mice is 100 px
const SCROLLED_MS = 400;

function render({ model, el }) {
  let chart = null, inside = false, share = 0, timer = null, drag = null, clicks = true;
  let zoom = 1, zoomAt = 0, scrolledMs = -Infinity, meant = false, pinch = null;
  const say = (what) => {
    try {
      model.send(what);
    } catch {
      // the kernel restarts: nobody reads
    }
  };
  const tell = () => {
    timer = null;
    if (zoom !== 1) say({ zoom: { by: zoom, at: zoomAt } });
    zoom = 1;
    if (drag?.begun) say({ drag: { by: drag.by, phase: "move" } });
    else if (inside) say({ share });
  };
  const leave = () => {
    if (inside) say({ share: null });
    inside = meant = false;
  };
  const plotBox = () => // not there while a drag would select
    chart.querySelector(".selectormouse")?.getBoundingClientRect();
  const shareAt = (x, y) => {
    const box = plotBox();
    const at = box ? (x - box.left) / box.width : -1;
    return at >= 0 && at <= 1 && y >= box.top && y <= box.bottom ? at : null;
  };
  const zoomBy = (factor, at) => {
    zoom *= factor;
    zoomAt = at;
    timer ??= setTimeout(tell, EVERY_MS);
  };
  // Whoever scrolls the page goes on scrolling it when a chart comes under a mouse that rests.
  const turn = (event) => {
    const at = shareAt(event.clientX, event.clientY);
    const scrolls = performance.now() - scrolledMs < SCROLLED_MS;
    if (at === null || !meant || scrolls) {
      scrolledMs = performance.now();
      return;
    }
    event.preventDefault();
    zoomBy(Math.exp(event.deltaY * (event.deltaMode === 1 ? 33 : 1) * ZOOM_PER_PX), at);
  };
  const fingers = (event) => {
    if (event.touches.length !== 2) {
      pinch = null;
      return;
    }
    const [a, b] = event.touches;
    const apart = Math.max(Math.abs(a.clientX - b.clientX), 10);
    const at = shareAt((a.clientX + b.clientX) / 2, (a.clientY + b.clientY) / 2);
    if (at === null) return;
    event.preventDefault();
    if (pinch) zoomBy(pinch / apart, at);
    pinch = apart;
  };
  const twice = (event) => {
    if (shareAt(event.clientX, event.clientY) === null) return;
    zoom = 1; // what the wheel has not said yet is taken back, too
    say({ reset: true });
  };
  const move = (event) => {
    if (drag) return;
    const box = plotBox();
    share = box ? (event.clientX - box.left) / box.width : -1;
    if (!(share >= 0 && share <= 1 && event.clientY >= box.top && event.clientY <= box.bottom)) {
      leave();
      return;
    }
    inside = true;
    meant ||= event.movementX !== 0 || event.movementY !== 0; // not the page that moved below it
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
  const gestures = [["wheel", turn], ["touchstart", fingers], ["touchmove", fingers], ["touchend", fingers],
    ["dblclick", twice]];
  const looking = setInterval(() => {
    chart = el.closest(".pairlab-chart"); // not before it stands in the page
    if (!chart) return;
    clearInterval(looking);
    chart.addEventListener("mousemove", move);
    chart.addEventListener("mouseleave", leave);
    chart.addEventListener("mousedown", press);
    chart.addEventListener("click", click, true);
    for (const [name, heard] of gestures) chart.addEventListener(name, heard, { passive: false, capture: true });
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
    for (const [name, heard] of gestures) chart?.removeEventListener(name, heard, true);
  };
}

export default { render };
