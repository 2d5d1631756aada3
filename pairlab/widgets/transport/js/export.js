const CAPTION_PX = { line: 14, pad: 8, char: 5.9 };
const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

// What a picture says of itself: where its numbers come from, for whom and when.
function captionOf({ source, settings }, width) {
  const pair = settings.match(/^pair=([^;]*)/)?.[1].replace("/", " / ") ?? "";
  const when = new Date().toISOString().slice(0, 19).replace("T", " ");
  const lines = [`${source} · ${pair} · ${when} UTC · pairlab`];
  const room = Math.max(Math.floor((width - 2 * CAPTION_PX.pad) / CAPTION_PX.char), 20);
  for (const word of settings.split("; ").slice(1)) {
    const line = lines.at(-1);
    if (lines.length > 1 && line.length + word.length + 3 <= room) lines[lines.length - 1] = `${line} · ${word}`;
    else lines.push(word);
  }
  return lines;
}

// A PNG with a text in its metadata, right behind its header.
async function withText(png, key, text) {
  const encode = (words) => new TextEncoder().encode(words);
  const data = new Uint8Array([...encode("iTXt" + key), 0, 0, 0, 0, 0, ...encode(text)]);
  const crc = ~data.reduce((sum, byte) => CRC[(sum ^ byte) & 255] ^ (sum >>> 8), -1) >>> 0;
  const number = (value) => new Uint8Array(new Uint32Array([value]).buffer).reverse();
  const chunk = [number(data.length - 4), data, number(crc)];
  const HEADER = 33; // signature and IHDR
  return new Blob([png.slice(0, HEADER), ...chunk, png.slice(HEADER)], { type: "image/png" });
}

// Has the browser download a file: a table that the kernel sent, or a picture of charts as they are
// on the screen. Throws an error whose message says why there is none.
async function saveFile(job, [packed]) {
  const save = (blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = job.name;
    document.body.appendChild(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  if (job.kind === "csv") {
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    save(new Blob([await new Response(stream).arrayBuffer()], { type: "text/csv" }));
    return;
  }

  // What the kernel has just painted is drawn when the second animation frame begins.
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));

  // Every colour is a custom property of the page's style sheet, which a file does not have, so
  // what the browser made of it is written in.
  const SVG = "http://www.w3.org/2000/svg";
  const KEPT = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity",
    "stroke-dasharray", "opacity", "font-family", "font-size", "font-weight",
    "font-variant-numeric", "text-anchor", "dominant-baseline", "visibility", "shape-rendering"];
  const make = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const baked = (element) => {
    const style = getComputedStyle(element);
    if (style.display === "none") return null;
    const copy = element.cloneNode(false);
    copy.removeAttribute("style");
    copy.removeAttribute("class");
    for (const name of KEPT) copy.setAttribute(name, style.getPropertyValue(name));
    if (style.transform !== "none") copy.setAttribute("transform", style.transform);
    for (const child of element.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) copy.append(child.cloneNode());
      else if (child.nodeType === Node.ELEMENT_NODE) {
        const inner = baked(child);
        if (inner) copy.append(inner);
      }
    }
    return copy;
  };

  // Of a chart that several cells show, the first that is seen.
  const panels = job.charts
    .map((names) => names.map((name) => [...document.querySelectorAll("." + name)]).flat()
      .find((panel) => panel.getClientRects().length))
    .filter(Boolean);
  if (!panels.length) throw new Error("no chart is in view: scroll to one and try again");
  const boxes = panels.map((panel) => panel.getBoundingClientRect());
  const left = Math.min(...boxes.map((b) => b.left)), top = Math.min(...boxes.map((b) => b.top));
  const width = Math.max(...boxes.map((b) => b.right)) - left;
  const charts = Math.max(...boxes.map((b) => b.bottom)) - top;
  const caption = captionOf(job.about, width);
  const height = charts + caption.length * CAPTION_PX.line + CAPTION_PX.pad;
  const root = make("svg", { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}` });
  const place = (box) =>
    ({ x: box.left - left, y: box.top - top, width: box.width, height: box.height });
  const colour = (name) => getComputedStyle(panels[0]).getPropertyValue(`--pairlab-${name}`).trim();
  const page = colour("page");
  for (const [tag, words] of [["title", caption[0]], ["desc", `${job.about.source}; ${job.about.settings}`]]) {
    const element = make(tag, {});
    element.textContent = words;
    root.append(element);
  }
  root.append(make("rect", { x: 0, y: 0, width, height, fill: page }));
  panels.forEach((panel, at) => {
    const background = getComputedStyle(panel).backgroundColor;
    root.append(make("rect", { ...place(boxes[at]), rx: 3, fill: background }));
    for (const svg of panel.querySelectorAll(".bqplot > svg")) {
      const copy = baked(svg);
      if (!copy) continue;
      for (const [key, value] of Object.entries(place(svg.getBoundingClientRect()))) {
        copy.setAttribute(key, value);
      }
      copy.setAttribute("overflow", "visible");
      root.append(copy);
    }
    const head = panel.querySelector(".pairlab-head-text");
    const edge = head.getBoundingClientRect();
    for (const sample of head.querySelectorAll("i")) {
      const style = getComputedStyle(sample), box = sample.getBoundingClientRect();
      if (box.top >= edge.bottom) continue;
      const middle = box.top - top + box.height / 2;
      root.append(make("line", { x1: box.left - left, x2: box.right - left, y1: middle, y2: middle,
        stroke: style.color, opacity: style.opacity, "stroke-width": Math.max(box.height, 2),
        "stroke-dasharray": sample.matches(".pairlab-dashed") ? "6 2" : "none" }));
    }
    const texts = document.createTreeWalker(head, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const range = document.createRange();
      range.selectNodeContents(texts.currentNode);
      const box = range.getBoundingClientRect(), style = getComputedStyle(range.startContainer.parentElement);
      // What has no room in the head wraps to a line that is not seen; the day stands elsewhere.
      const unseen = box.top >= edge.bottom && !range.startContainer.parentElement.closest(".pairlab-day");
      if (!box.width || unseen) continue;
      const text = make("text", { x: box.left - left, y: box.top - top + box.height * 0.78,
        fill: style.color, "font-family": style.fontFamily, "font-size": style.fontSize,
        "font-weight": style.fontWeight, "font-variant-numeric": "tabular-nums" });
      text.textContent = texts.currentNode.textContent;
      root.append(text);
    }
  });
  caption.forEach((words, at) => {
    const text = make("text", { x: CAPTION_PX.pad, y: charts + (at + 1) * CAPTION_PX.line,
      fill: colour(at ? "text2" : job.about.real ? "text" : "sim"), "font-size": at ? 10 : 11,
      "font-weight": at ? 400 : 700, "font-family": getComputedStyle(panels[0]).fontFamily });
    text.textContent = words;
    root.append(text);
  });
  const picture = new Blob([new XMLSerializer().serializeToString(root)],
    { type: "image/svg+xml" });
  if (job.kind === "svg") {
    save(picture);
    return;
  }
  const image = new Image();
  image.src = URL.createObjectURL(picture);
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(2 * width);
  canvas.height = Math.round(2 * height);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  const png = await new Promise((made) => canvas.toBlob(made, "image/png"));
  if (!png) throw new Error("the picture is too large for this browser: try SVG");
  save(await withText(png, "pairlab", `${job.about.source}; ${job.about.settings}`));
}
