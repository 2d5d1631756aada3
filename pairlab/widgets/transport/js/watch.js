// Notices by this page's own clock that the kernel says nothing any more: it has died, is frozen or
// busy, or cannot be reached. While the lab runs, frames or beats come at least once a second.
const SILENT_MS = 3500;
const CHECK_MS = 500;
const RECONNECT_MS = 5000;
const RELOAD_MS = 30000;
const LOST = "pairlab-lost";
const GONE = /dead|terminating|restarting/;

const inApp = () => document.body.dataset.voila !== undefined;

// Says why nothing comes, as far as a page can know, and what to do.
function whySilent(kernel, gone) {
  if (kernel === null || gone) {
    const then = inApp() ? "the page starts again by itself" : "run the cell again";
    return `the kernel has ended, and its lab with it; ${then}`;
  }
  if (!navigator.onLine) return "this computer is offline; the page connects again by itself";
  if ((kernel.connectionStatus ?? "connected") !== "connected") {
    return "the server cannot be reached; the page connects again by itself";
  }
  // The app runs no cells: its kernel is "busy" for an instant with every message, and stays so for
  // a page whose server stops in that instant.
  if (kernel.status === "busy" && !inApp()) return "the kernel is busy: a cell that runs holds up the lab";
  return "the kernel does not answer: it is busy or frozen, or the network is down";
}

// Jupyter gives up after some attempts; a page that stands for a night is to come back, too. In the
// app, where nobody can run a cell again, the page of a kernel that is gone is loaded again.
async function revive(kernel, gone) {
  if (kernel?.connectionStatus === "disconnected") kernel.reconnect?.().catch?.(() => {});
  if (!inApp() || !kernel) return;
  if (!gone) {
    const answer = await fetch(`${kernel.serverSettings.baseUrl}api/kernels/${kernel.id}`);
    if (answer.status !== 404) return;
  }
  const last = Number(sessionStorage.getItem(LOST) ?? -Infinity);
  if (Date.now() - last < RELOAD_MS) return;
  sessionStorage.setItem(LOST, Date.now());
  location.reload();
}

// Watches for the views of one lab; `parts` has them by their elements. `say` speaks to the kernel.
function watchKernel(model, parts, say) {
  let heardMs = performance.now(), checkedMs = heardMs, askAfterMs = 0, triedMs = 0;
  let resting = false, lost = false, gone = false;
  const kernelOf = () => model.widget_manager?.kernel ?? null;
  const follow = (_, status) => {
    gone ||= GONE.test(status);
  };
  kernelOf()?.statusChanged?.connect(follow);
  const elements = () => [...parts.keys()].map((el) => el.parentElement).filter(Boolean);

  const mark = (words) => {
    elements().forEach((part) => part.classList.add(LOST));
    for (const part of elements()) {
      let banner = part.querySelector(":scope > .pairlab-lost-banner");
      if (part.parentElement?.closest("." + LOST)) {
        banner?.remove(); // the dashboard around it says it
        continue;
      }
      if (!banner) {
        banner = document.createElement("div");
        banner.className = "pairlab-lost-banner";
        banner.setAttribute("role", "status");
        part.append(banner);
      }
      if (banner.textContent !== words) banner.textContent = words;
    }
  };
  const unmark = () => {
    for (const part of elements()) {
      part.classList.remove(LOST);
      part.querySelector(":scope > .pairlab-lost-banner")?.remove();
    }
  };
  const check = () => {
    const nowMs = performance.now(), silentMs = nowMs - heardMs;
    const late = nowMs - checkedMs > 3 * CHECK_MS; // what came while this page slept is not read yet
    checkedMs = nowMs;
    if (!parts.size || resting || late) return;
    if (silentMs > SILENT_MS) {
      if (!lost) triedMs = nowMs; // first it is said, and can be read
      lost = true;
      mark(`▲ STALE · nothing new for ${Math.round(silentMs / 1000)} s: ${whySilent(kernelOf(), gone)}.`);
      if (nowMs - triedMs > RECONNECT_MS) {
        triedMs = nowMs;
        revive(kernelOf(), gone).catch(() => {}); // tried again
      }
    }
    // A lab that has stopped says nothing either, and says so when it is asked.
    if (silentMs > 2000 + askAfterMs) {
      askAfterMs = Math.min(2 * askAfterMs + 8000, 120000);
      say({ asks: true });
    }
  };
  const timer = setInterval(check, CHECK_MS);
  return {
    heard(beat) {
      heardMs = performance.now();
      askAfterMs = 0;
      resting = beat === false;
      if (!lost) return;
      lost = false;
      unmark();
      say({ back: true });
    },
    attached() {
      // Of a kernel that is gone, other views said so already; a first one waits.
      if (parts.size === 1) heardMs = performance.now();
    },
    end() {
      clearInterval(timer);
      kernelOf()?.statusChanged?.disconnect(follow);
      unmark();
    },
  };
}
