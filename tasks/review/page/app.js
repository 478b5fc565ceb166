/* Puts the page together: what is drawn of the photo at hand, and what each key does. */

import {$, h, number, plural, say, visible} from "./words.js";
import * as photos from "./photos.js";
import * as list from "./list.js";
import * as stage from "./stage.js";
import * as hinting from "./hinting.js";
import * as deciding from "./deciding.js";
import * as variants from "./variants.js";

function drawPhoto(row) {
  const what = photos.said(row);
  $("name").textContent = visible(photos.value(row, "path"));
  const words = [what.verdict, what.waits ? "to be coloured again" : ""];
  if (what.verdict === "approved" && !what.waits && !what.stands) words[0] = "approved, but changed since";
  $("verdict").replaceChildren(
    ...words.filter(Boolean).map((word) => h("span", {className: `pill ${word.split(" ")[0].replace(",", "")}`}, word)),
  );
  if (document.activeElement !== $("note")) $("note").value = what.note;
  const scores = photos.scoresOf(row);
  const facts = [
    ["Place", `${photos.shown.indexOf(row) + 1} of ${number(photos.shown.length)}`],
    ["Size", `${photos.value(row, "width")} × ${photos.value(row, "height")}${photos.value(row, "pages") > 1 ? `, page 1 of ${photos.value(row, "pages")}` : ""}`],
    ["Palette", what.palette || photos.value(row, "palette") || "mean"],
    ["Mostly", photos.value(row, "mostly")],
    ["Uncertainty", photos.value(row, "uncertainty") === null ? "" : `${number(photos.value(row, "uncertainty"))} Lab units`],
    ["Colourfulness", number(photos.value(row, "colourfulness"))],
    ["Faults", scores.faults ? `${Math.round(100 * scores.faults)} % (seams ${Math.round(100 * scores.seams)}, tint ${Math.round(100 * scores.tint)}, bleeding ${Math.round(100 * scores.bleeding)})` : ""],
    ["Faces", scores.faces ? String(scores.faces) : ""],
    ["Description", visible(photos.value(row, "description"))],
    ["Date", visible(photos.value(row, "date"))],
    ["Notes", visible(photos.value(row, "notes"))],
  ];
  $("facts").replaceChildren(
    ...facts.filter(([, text]) => text).flatMap(([name, text]) => [h("dt", null, name), h("dd", null, text)]),
  );
}
function drawProgress() {
  const num = photos.numDecided();
  $("done").textContent = `${number(num)} of ${plural(photos.all.length, "photo")} decided`;
  $("progress").max = photos.all.length || 1;
  $("progress").value = num;
}

const filters = () => ({words: $("search").value, keep: $("filter").value, by: $("sort").value});
async function arrange() {
  await deciding.settled();
  const before = filters();
  photos.arrange(before);
  if (!photos.shown.includes(photos.current) && photos.shown.length) photos.open(photos.shown[0]);
  if (!photos.SCORED.has(before.by)) return;
  for (;;) {
    const scores = await photos.loadScores();
    if (filters().by !== before.by) return;
    photos.arrange(filters());
    if (photos.current >= 0) drawPhoto(photos.current);
    if (scores.complete) return;
    $("found").textContent = `${number(scores.num)} of ${plural(photos.all.length, "photo")} scored so far`;
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

const go = (by) => photos.open(photos.beside(by));
const KEYS = {
  a: () => deciding.judge("approved"),
  r: () => deciding.judge("rejected"),
  j: () => go(1),
  k: () => go(-1),
  ArrowRight: () => go(1),
  ArrowLeft: () => go(-1),
  u: () => deciding.undo(),
  b: () => stage.split(Number($("split").value) > 50 ? 0 : 100),
  s: () => stage.split(Number($("split").value) === 50 ? 0 : 50),
  "+": () => stage.zoom(1.5),
  "=": () => stage.zoom(1.5),
  "-": () => stage.zoom(1 / 1.5),
  0: () => stage.fit(),
  h: () => hinting.beginCross(),
  e: () => hinting.toggleDropper(),
  Backspace: () => hinting.removeLast(),
  y: () => deciding.copy(),
  p: () => deciding.paste(),
  f: () => deciding.toFolder(),
  g: () => $("overview").click(),
  n: () => $("note").focus(),
  "/": () => $("search").focus(),
  "?": () => $("keys").showModal(),
  Escape: () => hinting.clear(),
};
function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const field = event.target.closest("textarea, input, select");
  if (field) {
    if (event.key === "Escape") {
      field.blur();
      $("stage").focus({preventScroll: true});
    }
    return;
  }
  if (photos.current < 0) return;
  if (hinting.crossKey(event)) event.preventDefault();
  else if (/^[1-9]$/.test(event.key)) variants.choose(Number(event.key) - 1);
  else if (event.key in KEYS) {
    event.preventDefault();
    KEYS[event.key]();
  }
}

async function begin() {
  stage.begin();
  list.begin();
  hinting.begin();
  variants.begin();
  photos.on("current", (row) => {
    drawPhoto(row);
    stage.show(row);
  });
  photos.on("decided", (rows) => {
    drawProgress();
    if (!rows.includes(photos.current)) return;
    drawPhoto(photos.current);
    stage.show(photos.current, {anew: false});
  });
  const clicks = {
    approve: () => deciding.judge("approved"),
    reject: () => deciding.judge("rejected"),
    back: () => go(-1),
    next: () => go(1),
    undo: deciding.undo,
    copy: deciding.copy,
    paste: deciding.paste,
    folder: deciding.toFolder,
    help: () => $("keys").showModal(),
  };
  for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
  let timer = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(arrange, 80);
  });
  $("filter").addEventListener("change", arrange);
  $("sort").addEventListener("change", arrange);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", pressed);
  try {
    await photos.load();
  } catch (error) {
    say(error.message, {grave: true});
    return;
  }
  $("output").textContent = visible(photos.archive.output);
  $("against-box").hidden = !photos.archive.truth;
  drawProgress();
  photos.arrange(filters());
  photos.open(photos.shown.find((row) => !photos.said(row).verdict) ?? photos.shown[0]);
  deciding.begin();
  $("stage").focus({preventScroll: true});
  document.body.dataset.ready = "yes";
}

begin();
