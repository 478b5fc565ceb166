/* All photos as a strip beside the one at hand, or as an overview; only what is near the window is drawn. */

import {$, h, plural, visible} from "./words.js";
import * as photos from "./photos.js";
import {address} from "./server.js";

const AROUND = 600;
const SIZES = {photo: [0, 76], grid: [176, 172]};
let perLine = 1;
const drawn = new Map();

const isGrid = () => document.body.dataset.view === "grid";

function measure() {
  const [width, height] = SIZES[isGrid() ? "grid" : "photo"];
  perLine = width ? Math.max(1, Math.floor($("list").clientWidth / width)) : 1;
  $("rows").style.height = `${Math.ceil(photos.shown.length / perLine) * height}px`;
  return height;
}

function cell(row, place) {
  const name = visible(photos.value(row, "path"));
  const element = h(
    "div",
    {
      role: "option",
      id: `row-${row}`,
      className: "cell",
      "aria-posinset": place + 1,
      "aria-setsize": photos.shown.length,
      title: name,
      onclick: () => choose(row),
    },
    h("img", {
      alt: "",
      loading: "eager",
      decoding: "async",
      src: address(`small/${photos.id(row)}/after?v=${photos.value(row, "version")}`),
    }),
    h("span", {className: "name"}, name.split("/").at(-1)),
    h("span", {className: "mark"}),
  );
  mark(element, row);
  return element;
}
function mark(element, row) {
  const what = photos.said(row);
  const words = [what.verdict, what.waits ? "colour" : "", what.note ? "note" : ""];
  element.dataset.verdict = what.verdict;
  element.lastChild.textContent = words.filter(Boolean).join(" · ");
  element.setAttribute("aria-selected", row === photos.current);
}

export function draw({anew = false} = {}) {
  const height = measure();
  const list = $("list");
  const first = Math.max(0, Math.floor((list.scrollTop - AROUND) / height)) * perLine;
  const last = Math.ceil((list.scrollTop + list.clientHeight + AROUND) / height) * perLine;
  const wanted = new Map();
  for (let place = first; place < Math.min(last, photos.shown.length); place += 1)
    wanted.set(photos.shown[place], place);
  for (const [row, element] of drawn)
    if (anew || !wanted.has(row)) {
      element.remove();
      drawn.delete(row);
    }
  for (const [row, place] of wanted) {
    let element = drawn.get(row);
    if (!element) {
      element = cell(row, place);
      drawn.set(row, element);
      $("rows").append(element);
    }
    element.style.top = `${Math.floor(place / perLine) * height}px`;
    element.style.left = `${((place % perLine) / perLine) * 100}%`;
    element.style.width = `${100 / perLine}%`;
    element.style.height = `${height}px`;
  }
  if (drawn.has(photos.current)) list.setAttribute("aria-activedescendant", `row-${photos.current}`);
  else list.removeAttribute("aria-activedescendant");
}

function reveal() {
  const height = SIZES[isGrid() ? "grid" : "photo"][1];
  const list = $("list");
  const top = Math.floor(photos.shown.indexOf(photos.current) / perLine) * height;
  if (top < 0) return;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + height > list.scrollTop + list.clientHeight)
    list.scrollTop = top + height - list.clientHeight;
}

function choose(row) {
  photos.open(row);
  if (isGrid()) setView("photo");
}

export function setView(view) {
  document.body.dataset.view = view;
  $("overview").setAttribute("aria-pressed", view === "grid");
  draw({anew: true});
  reveal();
  draw();
  if (view === "grid") $("list").focus();
  else $("stage").focus({preventScroll: true});
}

export function begin() {
  $("list").addEventListener("scroll", () => draw(), {passive: true});
  new ResizeObserver(() => draw()).observe($("list"));
  $("overview").addEventListener("click", () => setView(isGrid() ? "photo" : "grid"));
  $("list").addEventListener("keydown", (event) => {
    const steps = {ArrowDown: perLine, ArrowUp: -perLine, ArrowRight: 1, ArrowLeft: -1};
    if (event.key in steps) photos.open(photos.beside(steps[event.key]));
    else if (event.key === "Enter" && isGrid()) setView("photo");
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  photos.on("order", () => {
    $("found").textContent =
      photos.shown.length === photos.all.length
        ? plural(photos.all.length, "photo")
        : `${photos.shown.length} of ${plural(photos.all.length, "photo")}`;
    $("list").scrollTop = 0;
    draw({anew: true});
    reveal();
    draw();
  });
  photos.on("current", () => {
    reveal();
    draw();
    for (const [row, element] of drawn) mark(element, row);
  });
  photos.on("decided", (rows) => {
    for (const row of rows) if (drawn.has(row)) mark(drawn.get(row), row);
  });
}
