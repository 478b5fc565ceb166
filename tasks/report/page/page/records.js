/* What run.js and photos.js hold; rows, columns and packs of small pictures, loaded when looked at. */
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

/** What photos.js says: how many rows there are, and which columns. */
let photos = {count: 0, rows: 1, columns: [], keys: [], statuses: [], reasons: []};
/** A column of all rows, to choose and sort by; those that nobody asked for are not there. */
const keys = {};
self.chromaflowKeys = (name, [type, content]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  keys[name] = new self[type](bytes.buffer);
};
async function loadKeys(...names) {
  const wanted = names.filter((name) => photos.keys.includes(name) && !keys[name]);
  await Promise.all(wanted.map((name) => loadScript(`keys/${name}.js`)));
}

const MOST_PAGES = 96;
const pagesOfRows = new Map();
const rowsWaiting = new Map();
self.chromaflowRows = (name, columns) => rowsWaiting.get(name)?.(columns);
const pageOf = (row) => Math.floor(row / photos.rows);
/** Columns of a page of rows; those used longest ago are let go. */
function loadPage(number) {
  let found = pagesOfRows.get(number);
  if (found) pagesOfRows.delete(number);
  else {
    const name = String(number).padStart(6, "0");
    found = {columns: null};
    found.loaded = new Promise((resolve) => {
      rowsWaiting.set(name, (columns) => {
        found.columns = columns;
        resolve();
      });
      loadScript(`photos/${name}.js`)
        .catch(() => {
          found.columns = {};
          resolve();
        })
        .finally(() => rowsWaiting.delete(name));
    });
  }
  pagesOfRows.set(number, found);
  if (pagesOfRows.size > MOST_PAGES) pagesOfRows.delete(pagesOfRows.keys().next().value);
  return found;
}
/** Load what these rows need to be drawn: null where that is there already. */
function needed(rows) {
  const pages = [...new Set(Array.from(rows, pageOf))].map(loadPage);
  const missing = pages.filter((one) => !one.columns);
  return missing.length ? Promise.all(missing.map((one) => one.loaded)) : null;
}
const isThere = (row) => Boolean(pagesOfRows.get(pageOf(row))?.columns);
/** A row's value of a column, null where the run did not record it. Its page must be there. */
function value(row, name) {
  const column = pagesOfRows.get(pageOf(row))?.columns?.[name];
  const at = row % photos.rows;
  if (!column) return null;
  return Array.isArray(column) ? column[at] : column.values[column.codes[at]];
}
const path = (row) => value(row, "path") ?? "";
const statusOf = (row) => photos.statuses[keys.status[row]];
/** The category with the largest share, -1 where none was recorded. */
const dominantOf = (row) => keys.most?.[row] ?? -1;
const shareOf = (row, name) => value(row, `share_${name}`);
async function prepare() {
  photos = self.chromaflow.photos;
  await loadKeys("status", "reason", "most");
}
/** All that is searched of a row. */
const searchedOf = (row) =>
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
    .toLowerCase();

/** CRC-32 of a path's UTF-16, as in the column `mark`. */
const crcTable = Uint32Array.from({length: 256}, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});
function pathMark(text) {
  let crc = 0xffffffff;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    for (const byte of [code & 255, code >> 8]) crc = crcTable[(crc ^ byte) & 255] ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
