/* What run.js and photos.js hold, and the packs of small pictures, loaded when looked at. */
"use strict";

const run = self.chromaflow.run;
const MOST_PACKS = 96;

function loadScript(source) {
  return new Promise((resolve, reject) => {
    const script = h("script", {
      src: source,
      onload: () => {
        script.remove();
        resolve();
      },
      onerror: () => {
        script.remove();
        reject(new Error(`${source} is not there`));
      },
    });
    document.head.append(script);
  });
}

const packs = new Map();
const waiting = new Map();
self.chromaflowPack = (name, pictures) => waiting.get(name)?.(pictures);
/** The pictures of a chunk; those used longest ago are let go. */
function loadPack(name) {
  let pack = packs.get(name);
  if (pack) packs.delete(name);
  else {
    pack = new Promise((resolve) => {
      waiting.set(name, resolve);
      loadScript(`thumbnails/${name}.js`)
        .catch(() => resolve(null))
        .finally(() => waiting.delete(name));
    });
  }
  packs.set(name, pack);
  if (packs.size > MOST_PACKS) packs.delete(packs.keys().next().value);
  return pack;
}

let photos = [];
let columns = {};
/** A row's value of a column, null where the run did not record it. */
function value(row, name) {
  const column = columns[name];
  if (!column) return null;
  return Array.isArray(column) ? column[row] : column.values[column.codes[row]];
}
const path = (row) => columns.path[row];
/** The category with the largest share, -1 where none was recorded; and what is searched, by row. */
let dominant = new Int8Array(),
  searched = [];
function prepare() {
  columns = self.chromaflow.photos.columns;
  const count = self.chromaflow.photos.count;
  photos = Array.from({length: count}, (_, row) => row);
  dominant = new Int8Array(count).fill(-1);
  const shares = run.categories.map((name) => columns[`share_${name}`]);
  for (let row = 0; row < count; row += 1) {
    let most = 0;
    shares.forEach((share, k) => {
      if (share && share[row] !== null && share[row] > most) {
        most = share[row];
        dominant[row] = k;
      }
    });
  }
  searched = photos.map((row) =>
    [
      path(row),
      value(row, "reason"),
      value(row, "detail"),
      value(row, "description"),
      value(row, "artist"),
      value(row, "lost") && `metadata lost: ${value(row, "lost")}`,
      value(row, "notes"),
    ]
      .filter(Boolean)
      .join("\n")
      .toLowerCase(),
  );
}
const shareOf = (row, name) => value(row, `share_${name}`);
/** How evenly the categories are mixed, 0..1; the order of review where uncertainty is not recorded. */
const mixed = (row) => (dominant[row] < 0 ? null : 1 - shareOf(row, run.categories[dominant[row]]));
