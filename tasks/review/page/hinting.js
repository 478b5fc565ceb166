/* Colours that a person gives at points: swatches of the photo, any colour, or one of another photo. */

import {$, h, say} from "./words.js";
import * as photos from "./photos.js";
import * as stage from "./stage.js";
import {decide} from "./deciding.js";

const NUM_SWATCHES = 10;
const USUAL = [
  ["skin, light", "#d9a98c"], ["skin, dark", "#7a4b35"], ["sky", "#8fb3d9"], ["grass", "#6f8a4a"], ["leaves", "#3f5a34"],
  ["brick", "#9c5a45"], ["wood", "#8a6f4d"], ["sand", "#cbb58c"], ["sea", "#3f6f80"], ["navy blue", "#2c3a5c"],
  ["red", "#b23a3a"], ["yellow", "#d8b44a"], ["rose", "#d58fa0"], ["khaki", "#8c8560"], ["gray", "#808080"],
];
/** Where a colour is asked for, [x, y]; the colour that the next click gets; the photo that the eyedropper works for. */
let pending = null,
  armed = null,
  dropping = null,
  cross = false;

const hex = (rgb) => `#${rgb.map((v) => v.toString(16).padStart(2, "0")).join("")}`;
const rgbOf = (text) => [1, 3, 5].map((k) => Number.parseInt(text.slice(k, k + 2), 16));

export function clear() {
  pending = armed = null;
  cross = false;
  drop(null);
  draw();
}
export const isBusy = () => pending !== null || armed !== null || dropping !== null;

function draw() {
  if (photos.current < 0) return;
  const {hints} = photos.said(photos.current);
  stage.marks(hints, pending);
  $("how").textContent = dropping
    ? "Click a colour, here or in another photo."
    : cross
      ? "Arrows move the cross, Enter sets it."
      : pending
        ? "Now choose a colour."
        : armed
          ? "Click the photo where this colour belongs. Esc ends it."
          : "Click the photo where it is wrong, then a colour.";
  for (const swatch of document.querySelectorAll(".swatches button"))
    swatch.setAttribute("aria-pressed", armed !== null && swatch.dataset.colour === hex(armed));
  $("dropper").setAttribute("aria-pressed", dropping !== null);
  $("hints").replaceChildren(
    ...hints.map((hint, k) => {
      const dot = h("i", {className: "dot"});
      dot.style.background = hex(hint.slice(2));
      return h(
        "li",
        null,
        dot,
        `${hex(hint.slice(2))} at ${Math.round(hint[0])}, ${Math.round(hint[1])} `,
        h("button", {type: "button", "aria-label": `Remove hint ${k + 1}`, onclick: () => remove(k)}, "×"),
      );
    }),
  );
}

function add(point, rgb) {
  pending = null;
  const [x, y] = stage.inside(point);
  const hints = [...photos.said(photos.current).hints, [x, y, ...rgb]];
  return decide("hints", photos.current, {hints});
}
function remove(k) {
  return decide("hints", photos.current, {hints: photos.said(photos.current).hints.toSpliced(k, 1)});
}
export function removeLast() {
  const {hints} = photos.said(photos.current);
  if (hints.length) remove(hints.length - 1);
}

/** A colour was chosen: for the point that waits for one, or for the next click. */
export function choose(rgb) {
  $("picker").value = hex(rgb);
  if (pending) {
    add(pending, rgb);
    $("stage").focus({preventScroll: true});
  } else armed = armed !== null && hex(armed) === hex(rgb) ? null : rgb;
  draw();
}

export function drop(target) {
  dropping = target;
  $("stage").classList.toggle("dropping", dropping !== null);
}
export function toggleDropper() {
  drop(dropping ? null : {row: photos.current, point: pending});
  draw();
}

/** A cross in the middle that keys move, for who uses no mouse. */
export function beginCross() {
  cross = true;
  pending = stage.inside(stage.centre());
  $("stage").focus({preventScroll: true});
  draw();
}
/** Whether a key moved or set the cross. */
export function crossKey(event) {
  if (!cross) return false;
  const step = stage.stepOf(event.shiftKey ? 0.004 : 0.02);
  const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  if (event.key in moves) {
    const [x, y] = moves[event.key];
    pending = stage.inside([pending[0] + x * step, pending[1] + y * step]);
  } else if (event.key === "Enter") {
    cross = false;
    $("swatches").firstChild?.focus();
  } else return false;
  draw();
  return true;
}

function clicked(x, y) {
  if (dropping) {
    const {row, point} = dropping;
    const rgb = stage.colourAt(x, y);
    drop(null);
    pending = point;
    if (row !== photos.current) {
      armed = pending ? null : rgb;
      photos.open(row);
      pending = point;
    }
    choose(rgb);
    say(`Took ${hex(rgb)}.`);
  } else if (armed) add([x, y], armed);
  else {
    cross = false;
    pending = stage.inside([x, y]);
  }
  draw();
}

/** Up to NUM_SWATCHES colours that tell the photo's parts apart, by median cut. */
function palette(data) {
  let boxes = [[]];
  for (let at = 0; at < data.length; at += 4) boxes[0].push([data[at], data[at + 1], data[at + 2]]);
  while (boxes.length < NUM_SWATCHES) {
    const spread = boxes.map((box) => {
      let best = [0, 0];
      for (const k of [0, 1, 2]) {
        const values = box.map((rgb) => rgb[k]);
        const range = values.reduce((a, v) => Math.max(a, v), 0) - values.reduce((a, v) => Math.min(a, v), 255);
        if (range > best[0]) best = [range, k];
      }
      return [best[0] * Math.sqrt(box.length), best[1]];
    });
    const widest = spread.reduce((a, one, k) => (one[0] > spread[a][0] ? k : a), 0);
    const box = boxes[widest].sort((a, b) => a[spread[widest][1]] - b[spread[widest][1]]);
    if (box.length < 2) break;
    boxes.splice(widest, 1, box.slice(0, box.length / 2), box.slice(box.length / 2));
  }
  const mean = (box) => [0, 1, 2].map((k) => Math.round(box.reduce((sum, rgb) => sum + rgb[k], 0) / box.length));
  const chroma = (rgb) => Math.max(...rgb) - Math.min(...rgb);
  return boxes.map(mean).sort((a, b) => chroma(b) - chroma(a));
}
function drawSwatches() {
  const found = new Map(palette(stage.smallPixels()).map((rgb) => [hex(rgb), rgb]));
  $("swatches").replaceChildren(...[...found].map(([name, rgb]) => swatch(`Colour ${name}`, name, rgb)));
  draw();
}
function swatch(title, name, rgb) {
  const button = h("button", {
    type: "button",
    title,
    "data-colour": name,
    "aria-label": title,
    "aria-pressed": "false",
    onclick: () => choose(rgb),
  });
  button.style.background = name;
  return button;
}

export function begin() {
  $("usual").append(...USUAL.map(([title, name]) => swatch(title, name, rgbOf(name))));
  stage.hear("point", clicked);
  stage.hear("colours", drawSwatches);
  $("take").addEventListener("click", () => choose(rgbOf($("picker").value)));
  $("picker").addEventListener("change", () => {
    if (pending) choose(rgbOf($("picker").value));
  });
  $("dropper").addEventListener("click", toggleDropper);
  photos.on("current", () => {
    pending = null;
    cross = false;
    draw();
  });
  photos.on("decided", (rows) => rows.includes(photos.current) && draw());
}
