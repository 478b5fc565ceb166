/* The photos, what was decided of them, and the order in which they are shown. Rows are numbers. */

import {get} from "./server.js";

export let columns = {};
export let all = [];
/** Rows that are shown, in their order. */
export let shown = [];
export let archive = {};
export let current = -1;
const decided = new Map();
const rowOf = new Map();
let searched = [];
let scores = null;
const NOTHING = {verdict: "", palette: "", hints: [], note: "", number: 0, waits: false, stands: false};

const listeners = new Map();
/** Hear of: current (another photo), decided (rows), order. */
export function on(what, listener) {
  listeners.set(what, [...(listeners.get(what) ?? []), listener]);
}
export function emit(what, value) {
  for (const listener of listeners.get(what) ?? []) listener(value);
}

export const value = (row, name) => columns[name][row];
export const id = (row) => columns.id[row];
export const said = (row) => decided.get(id(row)) ?? NOTHING;
export const folderOf = (row) => value(row, "path").split("/").slice(0, -1).join("/");

export async function load() {
  archive = await get("photos");
  columns = archive.columns;
  all = Array.from({length: archive.count}, (_, row) => row);
  rowOf.clear();
  all.forEach((row) => rowOf.set(id(row), row));
  decided.clear();
  for (const [one, what] of Object.entries(archive.decided)) decided.set(one, what);
  searched = all.map((row) =>
    [value(row, "path"), value(row, "description"), value(row, "artist"), value(row, "notes")]
      .join("\n")
      .toLowerCase(),
  );
}

/** Take what was decided, here or in another tab. */
export function take(answer) {
  archive.number = Math.max(archive.number, answer.number);
  const rows = [];
  for (const [one, what] of Object.entries(answer.decided)) {
    const row = rowOf.get(one);
    if (row === undefined || what.number < (decided.get(one)?.number ?? 0)) continue;
    decided.set(one, what);
    rows.push(row);
  }
  if (rows.length) emit("decided", rows);
  return rows;
}

export const numDecided = () => {
  let count = 0;
  for (const what of decided.values()) if (what.verdict) count += 1;
  return count;
};

const KEEPS = {
  "": () => true,
  open: (what) => !what.verdict,
  approved: (what) => what.verdict === "approved",
  rejected: (what) => what.verdict === "rejected",
  waits: (what) => what.waits,
  note: (what) => what.note !== "",
};
const collator = new Intl.Collator("en", {numeric: true});
/** What is sorted by, large first; null comes last. */
const KEYS = {
  doubt: (row) => (archive.uncertainty ? value(row, "uncertainty") : value(row, "mixed")),
  disagreement: (row) => scores?.columns.disagreement[row] ?? null,
  faults: (row) => scores?.columns.faults[row] ?? null,
  faces: (row) => scores?.columns.faces[row] ?? null,
  colourfulness: (row) => value(row, "colourfulness"),
  dull: (row) => (value(row, "colourfulness") === null ? null : -value(row, "colourfulness")),
};
export const SCORED = new Set(["disagreement", "faults", "faces"]);
export const scoresOf = (row) =>
  scores
    ? Object.fromEntries(Object.entries(scores.columns).map(([name, list]) => [name, list[row]]))
    : {};
export async function loadScores() {
  scores = await get("scores");
  return scores;
}

export function arrange({words = "", keep = "", by = ""}) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = KEEPS[keep];
  shown = all.filter(
    (row) => fits(said(row)) && wanted.every((word) => searched[row].includes(word)),
  );
  if (by) {
    const keys = new Map(shown.map((row) => [row, KEYS[by](row)]));
    shown.sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return y - x || a - b;
    });
  } else shown.sort((a, b) => collator.compare(value(a, "path"), value(b, "path")));
  emit("order");
}

export function open(row) {
  if (row === undefined || row === current) return;
  current = row;
  emit("current", row);
}
/** The row so many places on; the same at either end, and where none is shown. */
export function beside(by) {
  const place = shown.indexOf(current);
  return shown[Math.min(Math.max(0, place + by), shown.length - 1)] ?? current;
}
