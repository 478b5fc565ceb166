/* Decisions: written by the server before anything here says so. */

import {$, plural, say, visible} from "./words.js";
import * as photos from "./photos.js";
import {Refused, get, post} from "./server.js";

let copied = null;
let writing = Promise.resolve();

/** Decisions are sent one after another, so that each knows the one before. */
function inTurn(work) {
  const done = writing.then(work, work);
  writing = done.catch(() => {});
  return done;
}

/** When what was decided so far is known to the server, and so to the list. */
export const settled = () => writing;

export function decide(what, row, changes) {
  return inTurn(async () => {
    const one = {id: photos.id(row), seen: photos.said(row).number, ...changes};
    try {
      photos.take(await post("decide", {what, photos: [one]}));
      return true;
    } catch (error) {
      return complain(error);
    }
  });
}
async function complain(error) {
  if (!(error instanceof Refused)) throw error;
  say(error.message, {grave: true});
  if (error.status === 409) photos.take(await get("news?since=0"));
  return false;
}

export async function judge(verdict) {
  const row = photos.current;
  if (row < 0) return;
  const what = verdict === "approved" ? "approve" : verdict === "rejected" ? "reject" : "clear";
  const next = photos.beside(1);
  if (verdict) photos.open(next);
  if (!(await decide(what, row, {verdict}))) photos.open(row);
}

export function undo() {
  return inTurn(async () => {
    try {
      const answer = await post("undo", {});
      const rows = photos.take(answer);
      if (!rows.length) say("There is nothing to undo.");
      else {
        say(`Undone: ${rows.length === 1 ? visible(photos.value(rows[0], "path")) : plural(rows.length, "photo")}.`);
        if (!rows.includes(photos.current)) photos.open(rows[0]);
      }
    } catch (error) {
      await complain(error);
    }
  });
}

/** What colours a photo now, as a palette that another one can be given. */
async function paletteOf(row) {
  const known = photos.said(row).palette || photos.value(row, "palette");
  return known || (await get(`palette/${photos.id(row)}`)).palette;
}
export async function copy() {
  const row = photos.current;
  try {
    copied = {row, palette: await paletteOf(row)};
  } catch (error) {
    await complain(error);
    return;
  }
  $("copied").textContent = `Copied from ${visible(photos.value(row, "path"))}`;
  $("paste").disabled = false;
  say("Copied. Go to another photo and paste.");
}
export function paste() {
  if (copied) return decide("like", photos.current, {palette: copied.palette});
  say("Copy the colouring of a photo first.");
}
export async function toFolder() {
  const row = photos.current;
  const chosen = photos.said(row).palette || photos.value(row, "palette") || "mean";
  await inTurn(async () => {
    try {
      const rows = photos.take(await post("folder", {id: photos.id(row), palette: chosen}));
      say(`${plural(rows.length, "photo")} of ${visible(photos.folderOf(row)) || "this folder"} get this colouring; u takes it back.`);
    } catch (error) {
      await complain(error);
    }
  });
}

async function listen() {
  for (;;) {
    try {
      photos.take(await get(`news?since=${photos.archive.number}`));
      document.body.dataset.server = "yes";
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      document.body.dataset.server = "gone";
      say(error.message, {grave: true});
      await new Promise((resolve) => setTimeout(resolve, 3000));
    }
  }
}

export function begin() {
  const note = $("note");
  let row = -1;
  note.addEventListener("focus", () => {
    row = photos.current;
  });
  note.addEventListener("blur", () => {
    if (row >= 0 && note.value !== photos.said(row).note) decide("note", row, {note: note.value});
  });
  listen();
}
