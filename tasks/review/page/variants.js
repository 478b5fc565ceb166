/* The colourings to choose from, side by side, each chosen by its key. */

import {$, h, visible} from "./words.js";
import * as photos from "./photos.js";
import {get, post} from "./server.js";
import {decide} from "./deciding.js";

const PAUSE = 120;
let asking = null;
let timer = 0;
let known = {row: -1, variants: []};

export function choose(place) {
  const one = known.row === photos.current ? known.variants[place] : undefined;
  if (one) decide("palette", photos.current, {palette: one.palette});
}

function draw() {
  const row = photos.current;
  const what = photos.said(row);
  $("variants").replaceChildren(
    ...known.variants.map((one, place) =>
      h(
        "button",
        {
          type: "button",
          className: "variant",
          "aria-pressed": what.palette === one.palette ? "true" : "false",
          "aria-keyshortcuts": String(place + 1),
          title: one.code,
          onclick: () => choose(place),
        },
        h("img", {
          src: `data:image/jpeg;base64,${one.jpeg}`,
          alt: "",
        }),
        h("span", null, h("kbd", null, String(place + 1)), ` ${visible(one.name)}`),
      ),
    ),
  );
}

async function load(row) {
  asking?.abort();
  const mine = (asking = new AbortController());
  try {
    const {variants} = await get(`variants/${photos.id(row)}`, mine.signal);
    if (mine !== asking) return;
    known = {row, variants};
    draw();
    document.body.dataset.variants = photos.id(row);
    const next = photos.beside(1);
    if (next !== row) post("prepare", {id: photos.id(next)}, mine.signal).catch(() => {});
  } catch (error) {
    if (error.name !== "AbortError") $("variants").replaceChildren(h("p", {className: "soft"}, error.message));
  }
}

export function begin() {
  photos.on("current", (row) => {
    clearTimeout(timer);
    asking?.abort();
    known = {row: -1, variants: []};
    $("variants").replaceChildren(h("p", {className: "soft"}, "Other colourings come …"));
    timer = setTimeout(() => load(row), PAUSE);
  });
  photos.on("decided", (rows) => rows.includes(photos.current) && known.row === photos.current && draw());
}
