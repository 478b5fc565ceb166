/* The photo at hand at full size: zoom, pan, gray beside colour, marks of hints, and where it is clicked. */

import {$, h} from "./words.js";
import * as photos from "./photos.js";
import {address, send} from "./server.js";

const MOST_ZOOM = 16;
const view = {zoom: 1, x: 0, y: 0, fitted: true};
let size = [1, 1];
let asking = null;
let blob = "";
const heard = {point: () => {}, colours: () => {}};

/** Hear of clicks, `point` (x, y in pixels of the photo), and of another picture, `colours`. */
export const hear = (what, listener) => {
  heard[what] = listener;
};

function fitZoom() {
  const {clientWidth, clientHeight} = $("stage");
  return Math.min(clientWidth / size[0], clientHeight / size[1]);
}
function place() {
  const {clientWidth, clientHeight} = $("stage");
  if (view.fitted) view.zoom = fitZoom();
  const [width, height] = [size[0] * view.zoom, size[1] * view.zoom];
  const within = (at, inner, outer) =>
    inner <= outer ? (outer - inner) / 2 : Math.min(0, Math.max(outer - inner, at));
  view.x = within(view.x, width, clientWidth);
  view.y = within(view.y, height, clientHeight);
  const world = $("world").style;
  world.width = `${width}px`;
  world.height = `${height}px`;
  world.transform = `translate(${view.x}px, ${view.y}px)`;
  $("stage").classList.toggle("pixels", view.zoom > 3);
  for (const mark of $("marks").children) {
    mark.style.left = `${view.x + (Number(mark.dataset.x) + 0.5) * view.zoom}px`;
    mark.style.top = `${view.y + (Number(mark.dataset.y) + 0.5) * view.zoom}px`;
  }
}
/** Zoom by a factor about a point of the stage, its centre by default. */
export function zoom(factor, x = $("stage").clientWidth / 2, y = $("stage").clientHeight / 2) {
  const before = view.zoom;
  view.fitted = false;
  view.zoom = Math.min(MOST_ZOOM, Math.max(fitZoom(), before * factor));
  if (view.zoom === fitZoom()) view.fitted = true;
  const share = view.zoom / before;
  view.x = x - (x - view.x) * share;
  view.y = y - (y - view.y) * share;
  place();
}
export function fit() {
  view.fitted = true;
  place();
}
export const full = () => zoom(1 / view.zoom);

export function split(percent) {
  $("split").value = percent;
  const hidden = 100 - percent;
  $("before").style.clipPath = `inset(0 ${hidden}% 0 0)`;
  $("divider").style.left = `${percent}%`;
  $("divider").hidden = percent <= 0 || percent >= 100;
  if (percent > 0 && !$("before").src) loadBefore();
}
function loadBefore() {
  const row = photos.current;
  if (row < 0) return;
  const kind = $("against").value;
  const key = kind === "original" ? photos.id(row) : photos.value(row, "version");
  $("before").src = address(`${kind}/${photos.id(row)}?v=${key}`);
}

/** The colours of a row as they are, or as they would be with what was decided. */
export async function show(row, {anew = true} = {}) {
  asking?.abort();
  const mine = (asking = new AbortController());
  const what = photos.said(row);
  $("missing").hidden = true;
  if (anew) {
    size = [photos.value(row, "width"), photos.value(row, "height")];
    view.fitted = true;
    $("before").removeAttribute("src");
    $("colour").removeAttribute("src");
    const small = `small/${photos.id(row)}/after?v=${photos.value(row, "version")}`;
    $("under").src = address(small);
    place();
    split(Number($("split").value));
  }
  if (!what.waits) {
    $("busy").hidden = true;
    swap(address(`colour/${photos.id(row)}?v=${photos.value(row, "version")}`));
    return;
  }
  $("busy").hidden = false;
  try {
    const body = {id: photos.id(row), palette: what.palette, hints: what.hints};
    const answer = await send("preview", body, mine.signal);
    const content = await answer.blob();
    if (mine !== asking) return;
    swap(URL.createObjectURL(content), true);
  } catch (error) {
    if (error.name === "AbortError") return;
    fail(error.message);
  } finally {
    if (mine === asking) $("busy").hidden = true;
  }
}
function swap(source, isBlob = false) {
  const old = blob;
  blob = isBlob ? source : "";
  $("colour").onload = () => {
    if (old && old !== source) URL.revokeObjectURL(old);
    document.body.dataset.painted = String(Math.round(performance.now()));
    heard.colours();
  };
  $("colour").onerror = () => fail("The colour photo cannot be shown: it is not in OUT any more, or it is damaged.");
  $("colour").src = source;
}
function fail(text) {
  $("missing").textContent = text;
  $("missing").hidden = false;
}

export function marks(hints, pending) {
  const mark = (x, y, colour, name) => {
    const element = h("i", {className: name, "data-x": x, "data-y": y});
    if (colour) element.style.background = colour;
    return element;
  };
  $("marks").replaceChildren(
    ...hints.map(([x, y, r, g, b]) => mark(x, y, `rgb(${r} ${g} ${b})`, "hint")),
    ...(pending ? [mark(pending[0], pending[1], "", "pending")] : []),
  );
  place();
}

/** The colour at a point of the photo as it is shown, [r, g, b]. */
export function colourAt(x, y) {
  const image = $("colour");
  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext("2d");
  const across = (x / size[0]) * image.naturalWidth;
  const down = (y / size[1]) * image.naturalHeight;
  context.drawImage(image, Math.floor(across), Math.floor(down), 1, 1, 0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}
/** The photo at 64 pixels, for its palette: bytes of RGBA. */
export function smallPixels() {
  const context = new OffscreenCanvas(64, 64).getContext("2d");
  context.drawImage($("colour"), 0, 0, 64, 64);
  return context.getImageData(0, 0, 64, 64).data;
}

/** The middle of what is seen, in pixels of the photo. */
export const centre = () => inPhoto($("stage").clientWidth / 2, $("stage").clientHeight / 2);
function inPhoto(x, y) {
  return [(x - view.x) / view.zoom, (y - view.y) / view.zoom];
}
export const stepOf = (share) => (share * $("stage").clientWidth) / view.zoom;
export const inside = ([x, y]) => [
  Math.min(Math.max(0, Math.floor(x)), size[0] - 1),
  Math.min(Math.max(0, Math.floor(y)), size[1] - 1),
];

function pointers() {
  const stage = $("stage");
  const held = new Map();
  let moved = 0,
    apart = 0;
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    stage.setPointerCapture(event.pointerId);
    held.set(event.pointerId, [event.clientX, event.clientY]);
    if (held.size === 1) moved = 0;
  });
  stage.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    held.set(event.pointerId, now);
    moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
    if (held.size === 2) {
      const [[a, b], [c, d]] = [...held.values()];
      const distance = Math.hypot(a - c, b - d);
      const box = stage.getBoundingClientRect();
      if (apart) zoom(distance / apart, (a + c) / 2 - box.left, (b + d) / 2 - box.top);
      apart = distance;
    } else if (moved > 4) {
      view.x += now[0] - before[0];
      view.y += now[1] - before[1];
      place();
    }
  });
  const leave = (event) => {
    if (!held.delete(event.pointerId)) return;
    if (event.type === "pointerup" && moved <= 4 && held.size === 0 && !apart) {
      const box = stage.getBoundingClientRect();
      const [x, y] = inPhoto(event.clientX - box.left, event.clientY - box.top);
      if (x >= 0 && y >= 0 && x < size[0] && y < size[1]) heard.point(x, y);
    }
    if (held.size === 0) apart = 0;
  };
  stage.addEventListener("pointerup", leave);
  stage.addEventListener("pointercancel", leave);
  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const box = stage.getBoundingClientRect();
      zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
    },
    {passive: false},
  );
}

export function begin() {
  pointers();
  new ResizeObserver(place).observe($("stage"));
  $("split").addEventListener("input", () => split(Number($("split").value)));
  $("against").addEventListener("change", () => {
    $("split-name").textContent = $("against").value === "truth" ? "Truth" : "Gray";
    $("before").removeAttribute("src");
    split(Number($("split").value) || 50);
  });
  $("in").addEventListener("click", () => zoom(1.5));
  $("out").addEventListener("click", () => zoom(1 / 1.5));
  $("fit").addEventListener("click", fit);
  $("full").addEventListener("click", full);
  split(0);
}
