/* The run report. Data comes from run.js and photos.js, pictures from thumbnails/, when they are
   looked at. All text is put in as text: nothing here writes markup. */
"use strict";
(() => {
const run = self.chromaflow.run;
const ROW = 40, OVERSCAN = 60, PAGE = 24, MOST_PACKS = 96, LISTED = 8;
const SHOWN_BY_BROWSERS = new Set(["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"]);
const $ = (id) => document.getElementById(id);

/* ---------- building ---------- */

/** An element with properties, listeners (on…) and children; strings become text. */
function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.startsWith("aria") && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Control, bidirectional and other invisible characters as escapes, so that no name misleads. */
const visible = (text) =>
  String(text ?? "").replace(/[\p{C}\u2028\u2029]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
const number = (value, digits = 0) =>
  value === null || value === undefined ? "" :
    value.toLocaleString("en", {minimumFractionDigits: digits, maximumFractionDigits: digits});
const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (bytes >= 999.5 && at < units.length - 1) { bytes /= 1000; at += 1; }
  return `${number(bytes, at > 1 && bytes < 100 ? 1 : 0)} ${units[at]}`;
}
function duration(seconds) {
  if (seconds >= 5400) return `${number(seconds / 3600, 1)} h`;
  return seconds >= 90 ? `${number(seconds / 60, 1)} min` : `${number(seconds, 1)} s`;
}
const pill = (word) => h("span", {className: `pill ${word}`}, word);
const badge = () => h("strong", {className: "badge"}, "AI colorized");
const list = (pairs) => h("dl", {className: "list"}, pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined)
  .flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
/** A path below a relative folder as a link that cannot leave the file system. */
const urlOf = (folder, path) => folder + path.split("/").map(encodeURIComponent).join("/");

function command(text) {
  const button = h("button", {type: "button", "aria-label": `Copy: ${visible(text)}`, onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }}, "Copy");
  const code = h("code", null, visible(text));
  return h("div", {className: "command"}, code, button);
}

/* ---------- data ---------- */

function loadScript(source) {
  return new Promise((resolve, reject) => {
    const script = h("script", {src: source, onload: () => { script.remove(); resolve(); },
      onerror: () => { script.remove(); reject(new Error(`${source} is not there`)); }});
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
      loadScript(`thumbnails/${name}.js`).catch(() => resolve(null)).finally(() => waiting.delete(name));
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
let dominant = new Int8Array(), searched = [];
function prepare() {
  columns = self.chromaflow.photos.columns;
  const count = self.chromaflow.photos.count;
  photos = Array.from({length: count}, (_, row) => row);
  dominant = new Int8Array(count).fill(-1);
  const shares = run.categories.map((name) => columns[`share_${name}`]);
  for (let row = 0; row < count; row += 1) {
    let most = 0;
    shares.forEach((share, k) => {
      if (share && share[row] !== null && share[row] > most) { most = share[row]; dominant[row] = k; }
    });
  }
  searched = photos.map((row) => [path(row), value(row, "reason"), value(row, "detail"), value(row, "description"),
    value(row, "artist"), value(row, "sha256")].filter(Boolean).join("\n").toLowerCase());
}
const shareOf = (row, name) => value(row, `share_${name}`);
/** How evenly the categories are mixed, 0..1; the order of review where uncertainty is not recorded. */
const mixed = (row) => dominant[row] < 0 ? null : 1 - shareOf(row, run.categories[dominant[row]]);

/* ---------- review decisions ---------- */

const storeKey = `chromaflow-review:${run.output}`;
let decisions = new Map();
let stored = true;
function readDecisions() {
  try {
    decisions = new Map(Object.entries(JSON.parse(localStorage.getItem(storeKey) ?? "{}")));
  } catch {
    stored = false;
  }
}
function keepDecisions() {
  try {
    localStorage.setItem(storeKey, JSON.stringify(Object.fromEntries(decisions)));
  } catch {
    stored = false;
  }
}
/** The decision on a photo; one on another output of it does not count any more. */
function decisionOf(row) {
  const found = decisions.get(path(row));
  return found && found.output === value(row, "output_sha256") ? found : null;
}
function decide(row, change) {
  const found = {decision: "", note: "", ...decisionOf(row), ...change,
    output: value(row, "output_sha256"), time: new Date().toISOString()};
  if (found.decision || found.note) decisions.set(path(row), found);
  else decisions.delete(path(row));
  keepDecisions();
}
/** As storage/safe_csv.py: no cell begins a formula. */
function cell(text) {
  const safe = /^ *[=+\-@\t\r\n]/.test(text) ? `'${text}` : text;
  return `"${safe.replaceAll('"', '""')}"`;
}
function reviewCsv() {
  const heads = ["path", "decision", "note", "uncertainty", "output", "sha256", "output_sha256", "time"];
  const lines = queue.filter(decisionOf).map((row) => {
    const found = decisionOf(row);
    const uncertainty = value(row, "uncertainty");
    return [path(row), found.decision, found.note, uncertainty === null ? "" : String(uncertainty), value(row, "output"),
      value(row, "sha256"), value(row, "output_sha256"), found.time].map(cell).join(",");
  });
  return [heads.map(cell).join(","), ...lines, ""].join("\r\n");
}

/* ---------- pictures ---------- */

const MODES = {slider: "Before | after", chroma: "Chroma only", segments: "Segmentation", uncertainty: "Uncertainty"};
let mode = "slider";
const jpeg = (base64) => `data:image/jpeg;base64,${base64}`;

/** A slider between two pictures, told to assistive technology as one. */
function slider(label, first, second) {
  const element = h("img-comparison-slider", {role: "slider", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100,
    "aria-valuenow": 50, "aria-valuetext": "50 % before", tabindex: 0});
  for (const [slot, source, fallback] of [["first", ...first], ["second", ...second]]) {
    const image = h("img", {alt: "", draggable: false, className: slot, slot});
    if (fallback) image.addEventListener("error", () => { image.src = fallback; }, {once: true});
    image.src = source;
    element.append(image);
  }
  element.addEventListener("slide", () => {
    const share = Math.round(element.value);
    element.setAttribute("aria-valuenow", share);
    element.setAttribute("aria-valuetext", `${share} % before`);
  });
  return element;
}

/** The picture of a photo in the current mode. large: from the files themselves where a browser can. */
function picture(row, {large = false, as = mode} = {}) {
  const box = h("div", {className: "picture"});
  const none = (text) => box.append(h("p", {className: "none"}, text));
  if (value(row, "status") !== "coloured") {
    none(value(row, "status"));
    return box;
  }
  const name = value(row, "pack");
  if (!name) {
    none("This run kept no small picture of it.");
    return box;
  }
  loadPack(name).then((pack) => {
    const found = pack?.[value(row, "picture")];
    const label = visible(path(row));
    if (!found) none("The file of small pictures is missing.");
    else if (as === "slider") {
      const small = [jpeg(found.before), jpeg(found.after)];
      const files = large && SHOWN_BY_BROWSERS.has(value(row, "format")) && run.photos_at && run.outputs_at
        ? [urlOf(run.photos_at, path(row)), urlOf(run.outputs_at, value(row, "output"))] : null;
      box.append(slider(`Before and after: ${label}`, files ? [files[0], small[0]] : [small[0]], files ? [files[1], small[1]] : [small[1]]));
    } else if (as === "chroma") {
      box.classList.add("chroma");
      box.append(h("img", {src: jpeg(found.after), alt: `Chroma of ${label}`}));
    } else if (found[as]) box.append(h("img", {src: jpeg(found[as]), alt: `${MODES[as]} of ${label}`}));
    else none("Not recorded: colorize with --uncertainty.");
    if (found && as !== "segments" && as !== "uncertainty") box.append(badge());
  });
  return box;
}

function mix(row) {
  if (dominant[row] < 0) return null;
  return h("div", {className: "mix", "aria-hidden": "true"}, run.categories.map((name) => {
    const part = h("span", {className: name});
    part.style.width = `${100 * (shareOf(row, name) ?? 0)}%`;
    return part;
  }));
}
const mixText = (row) => run.categories.map((name) => [name, shareOf(row, name)])
  .filter(([, share]) => share >= 0.01).sort((a, b) => b[1] - a[1])
  .map(([name, share]) => `${name} ${Math.round(100 * share)} %`).join(" · ");

/* ---------- the top ---------- */

function drawTop() {
  document.title = `Chromaflow run report: ${visible(run.source)}`;
  const when = run.run ? `run ${run.run.run_id}` : "no run";
  $("source").textContent = `${visible(run.source)} → ${visible(run.output)} · ${when}`;
  const state = run.run?.state ?? "unknown";
  const code = run.run?.exit_code;
  const words = state === "done" && code === 6 ? "finished with failures" : state;
  $("outcome").append(h("span", {className: `pill ${code === 0 ? "good" : "failed"}`},
    `${words}${code === null || code === undefined ? "" : ` · exit ${code}`}`));
  const total = Object.values(run.counts).reduce((a, b) => a + b, 0);
  const tiles = [["photos", number(total)], ...Object.entries(run.counts).filter(([name, count]) => count || name === "failed").map(([name, count]) => [name, number(count)]),
    ["of outputs", size(run.bytes.outputs)],
    ["computing", duration(run.steps.reduce((sum, step) => sum + step.seconds, 0))]];
  $("counts").append(...tiles.map(([name, text]) => h("div", null, h("dt", null, name), h("dd", null, text))));
}

/* ---------- failures ---------- */

function drawFailures() {
  const body = $("failures-body");
  body.className = "stack";
  const failed = run.reasons.filter((reason) => reason.status === "failed");
  const skipped = run.reasons.filter((reason) => reason.status === "skipped");
  for (const failure of run.run?.failures ?? []) {
    body.append(h("div", {className: "panel reason"}, h("h3", null, `Step ${failure.step} failed`), h("p", null, visible(failure.error))));
  }
  if (!failed.length && !body.children.length) body.append(h("p", null, "No photo failed."));
  body.append(...failed.map(drawReason));
  if (skipped.length) {
    body.append(h("h3", null, "Skipped on purpose"), ...skipped.map(drawReason));
  }
}
function drawReason(reason) {
  const rows = photos.filter((row) => value(row, "reason") === reason.code && value(row, "status") === reason.status);
  return h("article", {className: "panel reason"},
    h("header", null, h("h3", null, reason.code), pill(reason.status), h("span", null, plural(reason.count, "photo"))),
    h("p", null, reason.meaning), h("p", {className: "remedy"}, reason.remedy),
    h("ul", null, rows.slice(0, LISTED).map((row) => h("li", null, h("code", null, visible(path(row))),
      value(row, "detail") ? h("span", null, ` ${visible(value(row, "detail"))}`) : null))),
    rows.length > LISTED ? h("button", {type: "button", onclick: () => showReason(reason)}, `Show all ${number(rows.length)}`) : null,
    reason.status === "failed" ? command(reason.retry) : null);
}
function showReason(reason) {
  reset();
  $("status").value = reason.status;
  $("reason").value = reason.code;
  setView("table");
  refresh();
  $("photos").scrollIntoView();
  $("search").focus({preventScroll: true});
}

/* ---------- filters and order ---------- */

const collator = new Intl.Collator("en", {numeric: true});
let HEADS = [
  ["status", "Status", {width: 104}], ["path", "Path", {}], ["reason", "Reason", {width: 152, wide: true}],
  ["pixels", "Size", {width: 108, wide: true, number: true}], ["mix", "Category mix", {width: 130, wide: true}],
  ["colourfulness", "Colour­fulness", {width: 96, wide: true, number: true, digits: 1}],
  ["uncertainty", "Uncer­tainty", {width: 88, number: true, digits: 2}],
  ["max_dL", "max ΔL*", {width: 80, wide: true, number: true, digits: 2}],
  ["seconds", "Seconds", {width: 84, wide: true, number: true, digits: 2}],
  ["sha256", "SHA-256", {width: 92, wide: true, hash: true}],
  ["output_sha256", "Of output", {width: 92, wide: true, hash: true}],
];
const TITLES = {
  colourfulness: "Hasler and Süsstrunk 2003, of the small picture",
  uncertainty: "Mean over the photo, Lab units; recorded with --uncertainty",
  max_dL: "Largest change of lightness of a pixel before encoding; of photos over half a megapixel, of some rows",
  seconds: "That the networks, colours and encoding took, without decoding",
  mix: "Mean weight of each category",
};
const order = {by: "", down: false};
let found = [], view = "grid", page = 0, first = -1, active = 0;

function sortKey(row) {
  switch (order.by) {
    case "pixels": return value(row, "width") === null ? null : value(row, "width") * value(row, "height");
    case "mix": return dominant[row] < 0 ? null : dominant[row] - shareOf(row, run.categories[dominant[row]]);
    case "status": return Object.keys(run.counts).indexOf(value(row, "status"));
    default: return value(row, order.by);
  }
}
/** Rows in the chosen order; those without a value last, whichever way. */
function sorted(rows) {
  if (!order.by) return rows;
  const keys = new Map(rows.map((row) => [row, sortKey(row)]));
  const text = order.by === "path" || order.by === "reason";
  const way = order.down ? -1 : 1;
  return rows.sort((a, b) => {
    const [x, y] = [keys.get(a), keys.get(b)];
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    const apart = text ? collator.compare(x, y) : x < y ? -1 : x > y ? 1 : 0;
    return way * apart || a - b;
  });
}
function refresh() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [status, reason, most, decision] = ["status", "reason", "category", "decision"].map((id) => $(id).value);
  found = sorted(photos.filter((row) =>
    (!status || value(row, "status") === status) && (!reason || value(row, "reason") === reason) &&
    (!most || (dominant[row] >= 0 && run.categories[dominant[row]] === most)) &&
    (!decision || (value(row, "status") === "coloured" && (decisionOf(row)?.decision || "undecided") === decision)) &&
    words.every((word) => searched[row].includes(word))));
  $("found").textContent = found.length === photos.length ? plural(found.length, "photo") : `${number(found.length)} of ${plural(photos.length, "photo")}`;
  $("sort").value = order.by;
  $("direction").textContent = order.down ? "Descending" : "Ascending";
  page = 0;
  active = 0;
  drawView();
}
function reset() {
  for (const id of ["search", "status", "reason", "category", "decision"]) $(id).value = "";
}
function setOrder(by) {
  if (order.by === by) order.down = !order.down;
  else Object.assign(order, {by, down: HEADS.find(([name]) => name === by)?.[2].number ?? false});
  refresh();
}
function drawFilters() {
  const fill = (id, all, values) => $(id).append(h("option", {value: ""}, all), ...values.map((word) => h("option", {value: word}, word)));
  fill("status", "all", Object.keys(run.counts).filter((name) => run.counts[name]));
  fill("reason", "all", run.reasons.map((reason) => reason.code));
  fill("category", "any category", run.categories);
  fill("decision", "all", ["undecided", "approved", "rejected"]);
  $("sort").append(h("option", {value: ""}, "as in the archive"), ...HEADS.map(([name, title]) => h("option", {value: name}, title.replaceAll("\u00ad", ""))));
  let timer = 0;
  $("search").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(refresh, 120); });
  for (const id of ["status", "reason", "category", "decision"]) $(id).addEventListener("change", refresh);
  $("sort").addEventListener("change", () => { order.by = $("sort").value; refresh(); });
  $("direction").addEventListener("click", () => { order.down = !order.down; refresh(); });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const [name, title] of [["grid", "Pictures"], ["table", "Table"]]) {
    $("views").append(h("button", {type: "button", "data-view": name, onclick: () => { setView(name); drawView(); }}, title));
  }
  for (const [name, title] of Object.entries(MODES)) {
    $("modes").append(h("button", {type: "button", "data-mode": name, onclick: () => setMode(name)}, title));
  }
  $("legend").append(...run.categories.map((name) => h("li", null, h("i", {className: name}), name)));
  setView(view);
  setMode(mode);
}
function setView(name) {
  view = name;
  for (const button of $("views").children) button.setAttribute("aria-pressed", button.dataset.view === name);
}
function setMode(name) {
  mode = name;
  for (const button of $("modes").children) button.setAttribute("aria-pressed", button.dataset.mode === name);
  if (photos.length) { drawView(); drawReview(); }
}
function drawView() {
  const grid = view === "grid";
  $("grid").hidden = $("pages").hidden = $("modes").hidden = !grid;
  $("scroller").hidden = grid;
  $("legend").hidden = grid && mode !== "segments";
  if (grid) drawGrid();
  else { $("scroller").scrollTop = 0; drawTable(true); }
}

/* ---------- pictures in a grid ---------- */

function drawGrid() {
  const rows = found.slice(page * PAGE, (page + 1) * PAGE);
  $("grid").replaceChildren(...rows.map((row) => h("li", {className: "card"}, picture(row),
    h("div", {className: "facts"},
      h("button", {type: "button", className: "link", onclick: () => openDetail(row)}, visible(path(row))),
      mix(row), h("small", null, [mixText(row), value(row, "reason"), value(row, "uncertainty") === null ? null : `uncertainty ${number(value(row, "uncertainty"), 1)}`].filter(Boolean).join(" · ")),
      decisionOf(row)?.decision ? h("span", null, pill(decisionOf(row).decision)) : null))));
  if (!rows.length) $("grid").append(h("li", null, "No photo fits. ", h("button", {type: "button", onclick: () => { reset(); refresh(); }}, "Clear the filters")));
  const last = Math.ceil(found.length / PAGE) - 1;
  const go = (to) => () => { page = to; drawGrid(); $("photos").scrollIntoView(); };
  $("pages").replaceChildren(...(last > 0 ? [
    h("button", {type: "button", disabled: page === 0, onclick: go(page - 1)}, "Previous"),
    h("span", {role: "status"}, `${number(page * PAGE + 1)} to ${number(page * PAGE + rows.length)} of ${number(found.length)}`),
    h("button", {type: "button", disabled: page === last, onclick: go(page + 1)}, "Next")] : []));
}

/* ---------- the table: only the rows near the window exist ---------- */

function drawHeads() {
  HEADS = HEADS.filter(([name]) => ["pixels", "mix"].includes(name) || columns[name]);
  $("heads").replaceChildren(...HEADS.map(([name, title, look]) => {
    const head = h("th", {scope: "col", className: [look.wide ? "wide" : "", look.number ? "number" : ""].join(" "), title: TITLES[name] ?? ""},
      h("button", {type: "button", "data-sort": name, onclick: () => setOrder(name)}, title));
    if (look.width) head.style.width = `${look.width}px`;
    return head;
  }));
}
function drawTable(anew = false) {
  const box = $("scroller");
  const at = Math.max(0, Math.floor(box.scrollTop / ROW) - OVERSCAN);
  if (!anew && Math.abs(at - first) < OVERSCAN / 2 && at !== 0) return;
  if (!anew && at === first) return;
  first = at;
  const count = Math.ceil(box.clientHeight / ROW) + 2 * OVERSCAN;
  const rows = found.slice(at, at + count);
  const focused = document.activeElement?.closest?.("#rows tr") ? active : null;
  const gap = (height) => { const cellOf = h("td"); cellOf.style.height = `${height}px`; return h("tr", {className: "gap", "aria-hidden": "true"}, cellOf); };
  $("rows").replaceChildren(gap(at * ROW), ...rows.map((row, k) => drawRow(row, at + k)), gap(Math.max(0, found.length - at - rows.length) * ROW));
  $("table").setAttribute("aria-rowcount", found.length + 1);
  for (const head of $("heads").children) {
    const isIt = head.firstChild.dataset.sort === order.by;
    if (isIt) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
    const title = HEADS.find(([name]) => name === head.firstChild.dataset.sort)[1];
    head.firstChild.textContent = title + (isIt ? (order.down ? " ▼" : " ▲") : "");
  }
  if (focused !== null) buttonOf(focused)?.focus({preventScroll: true});
}
/** Folder and name: where room is short, the folder is cut. */
function pathParts(text) {
  const at = text.lastIndexOf("/") + 1;
  const parts = [h("span", {className: "name"}, visible(text.slice(at)))];
  return at ? [h("span", {className: "folder"}, visible(text.slice(0, at))), ...parts] : parts;
}
function drawRow(row, index) {
  const line = h("tr", {"aria-rowindex": index + 2, "data-index": index});
  for (const [name, , look] of HEADS) {
    let content = value(row, name);
    if (name === "status") content = pill(content);
    else if (name === "path") {
      content = h("button", {type: "button", className: "link", tabindex: index === active ? 0 : -1, title: visible(content), onclick: () => { active = index; openDetail(row); }}, pathParts(content));
    } else if (name === "pixels") content = value(row, "width") === null ? "" : `${value(row, "width")} × ${value(row, "height")}`;
    else if (name === "mix") content = dominant[row] < 0 ? "" : [h("span", {title: mixText(row)}, mixText(row).split(" · ")[0]), mix(row)];
    else if (look.hash) content = content ? h("span", {className: "hash", title: content}, content.slice(0, 8)) : "";
    else if (look.number) content = number(content, look.digits);
    else content = visible(content);
    line.append(h("td", {className: [look.wide ? "wide" : "", look.number ? "number" : "", name === "mix" ? "mixed" : ""].join(" ").trim(),
      title: name === "reason" ? visible(value(row, "detail")) : ""}, content ?? ""));
  }
  return line;
}
const buttonOf = (index) => $("rows").querySelector(`tr[data-index="${index}"] button`);
function goTo(index) {
  const box = $("scroller");
  const before = buttonOf(active);
  if (before) before.tabIndex = -1;
  active = Math.min(Math.max(0, index), found.length - 1);
  const top = active * ROW, head = $("heads").offsetHeight;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + ROW > box.scrollTop + box.clientHeight - head) box.scrollTop = top + ROW + head - box.clientHeight;
  drawTable();
  const button = buttonOf(active);
  if (button) { button.tabIndex = 0; button.focus({preventScroll: true}); }
}
function tableKeys(event) {
  const pageful = Math.max(1, Math.floor($("scroller").clientHeight / ROW) - 2);
  const to = {ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + pageful, PageUp: active - pageful, Home: 0, End: found.length - 1}[event.key];
  if (to === undefined || !found.length || event.target.closest("thead")) return;
  event.preventDefault();
  goTo(event.target === $("scroller") && event.key.startsWith("Arrow") ? active : to);
}

/* ---------- one photo ---------- */

function factsOf(row) {
  const file = value(row, "output");
  const said = ["description", "date", "artist", "copyright"].map((name) => [name[0].toUpperCase() + name.slice(1), visible(value(row, name))]);
  return list([
    ["Status", h("span", null, pill(value(row, "status")), value(row, "reason") ? ` ${value(row, "reason")}` : "")],
    ["Reason", visible(value(row, "detail"))], ...said,
    ["Size", value(row, "width") === null ? "" : `${value(row, "width")} × ${value(row, "height")} pixels, ${size(value(row, "bytes"))}, ${value(row, "format")}`],
    ["Category mix", mixText(row)],
    ["Colourfulness", number(value(row, "colourfulness"), 1)],
    ["Uncertainty", value(row, "uncertainty") === null ? "" : `${number(value(row, "uncertainty"), 2)} Lab units`],
    ["max ΔL*", number(value(row, "max_dL"), 2)],
    ["Seconds", number(value(row, "seconds"), 2)],
    ["SHA-256", value(row, "sha256") ? h("span", {className: "hash"}, value(row, "sha256")) : ""],
    ["Output", file ? h("a", {href: urlOf(run.outputs_at, file), target: "_blank", rel: "noopener"}, visible(file)) : ""],
    ["Its SHA-256", value(row, "output_sha256") ? h("span", {className: "hash"}, value(row, "output_sha256")) : ""],
    ["Uncertainty map", value(row, "uncertainty_map") ? h("a", {href: urlOf(run.outputs_at, value(row, "uncertainty_map")), target: "_blank", rel: "noopener"}, "open") : ""],
  ]);
}
function openDetail(row) {
  $("detail").replaceChildren(
    h("header", null, h("h2", {id: "detail-title"}, visible(path(row))), h("button", {type: "button", onclick: () => $("detail").close()}, "Close")),
    picture(row, {large: true}), factsOf(row));
  $("detail").showModal();
}

/* ---------- review ---------- */

let queue = [], current = 0;
function prepareReview() {
  const known = Boolean(columns.uncertainty);
  const key = known ? (row) => value(row, "uncertainty") : mixed;
  queue = photos.filter((row) => value(row, "status") === "coloured");
  queue.sort((a, b) => (key(b) ?? -1) - (key(a) ?? -1) || a - b);
  $("review-order").textContent = !queue.length ? "There is nothing to review." : known
    ? "The most uncertain colours come first."
    : "This run recorded no uncertainty (colorize --uncertainty), so the photos whose categories are mixed most evenly come first.";
  const open = queue.findIndex((row) => !decisionOf(row)?.decision);
  current = Math.max(0, open);
  drawReview();
}
function drawReview(focus = false) {
  const body = $("review-body");
  if (!queue.length) { body.replaceChildren(); return; }
  const row = queue[current];
  const given = decisionOf(row);
  const num = queue.filter((one) => decisionOf(one)?.decision).length;
  const note = h("textarea", {value: given?.note ?? "", onchange: () => decide(row, {note: note.value}),
    onkeydown: (event) => { if (event.key === "Escape") { decide(row, {note: note.value}); drawReview(true); event.stopPropagation(); } }});
  const act = (decision) => () => { decide(row, {decision, note: note.value}); step(1, true); };
  const key = (text) => h("kbd", null, text);
  body.className = "reviewing";
  body.replaceChildren(
    h("div", null, picture(row, {large: true})),
    h("div", null,
      h("p", null, h("strong", null, visible(path(row))), " ", given?.decision ? pill(given.decision) : null),
      h("p", {role: "status"}, `Photo ${number(current + 1)} of ${number(queue.length)}, ${number(num)} decided`),
      h("progress", {max: queue.length, value: num, "aria-label": "Decided"}),
      h("div", {className: "actions"},
        h("button", {type: "button", className: "primary", onclick: act("approved"), "aria-keyshortcuts": "a"}, "Approve", key("a")),
        h("button", {type: "button", onclick: act("rejected"), "aria-keyshortcuts": "r"}, "Reject", key("r")),
        h("button", {type: "button", onclick: () => step(-1), disabled: current === 0, "aria-keyshortcuts": "k"}, "Back", key("k")),
        h("button", {type: "button", onclick: () => step(1), disabled: current === queue.length - 1, "aria-keyshortcuts": "j"}, "Next", key("j"))),
      h("label", null, h("span", null, "Note", key("n")), note),
      h("div", {className: "actions"},
        h("button", {type: "button", onclick: saveCsv}, "Save decisions as CSV"),
        given ? h("button", {type: "button", onclick: () => { decisions.delete(path(row)); keepDecisions(); drawReview(true); }}, "Undo this one") : null),
      stored ? null : h("p", {role: "alert"}, "This browser keeps nothing for pages from the disk: save the CSV before you close it."),
      list([["Category mix", mixText(row)], ["Uncertainty", value(row, "uncertainty") === null ? "" : `${number(value(row, "uncertainty"), 2)} Lab units`],
        ["Description", visible(value(row, "description"))], ["Output", h("a", {href: urlOf(run.outputs_at, value(row, "output")), target: "_blank", rel: "noopener"}, visible(value(row, "output")))]])));
  if (focus) body.focus({preventScroll: true});
}
function step(by, focus = true) {
  current = Math.min(Math.max(0, current + by), queue.length - 1);
  drawReview(focus);
}
function reviewKeys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("textarea, input, select")) return;
  const buttons = {a: "a", r: "r", j: "j", k: "k"};
  if (event.key === "n") {
    event.preventDefault();
    $("review-body").querySelector("textarea").focus();
  } else if (buttons[event.key]) {
    event.preventDefault();
    $("review-body").querySelector(`[aria-keyshortcuts="${event.key}"]`).click();
  }
}
function saveCsv() {
  const url = URL.createObjectURL(new Blob([reviewCsv()], {type: "text/csv"}));
  h("a", {href: url, download: "review.csv"}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/* ---------- the run ---------- */

function drawRun() {
  const models = run.models ? [...Object.entries(run.models.experts).map(([name, one]) => [`expert ${name}`, one]), ["segmenter", run.models.segmenter]] : [];
  const twins = [["run.json", "what this page says of the run"], ["photos.parquet", "the table, with all hashes"],
    ["failures.csv", "failures with remedies"], ["events.jsonl", "what the run did, event by event"]];
  $("run-body").className = "stack";
  $("run-body").append(
    h("div", {className: "panel"}, h("h3", null, "To do it again"), command(run.commands.reproduce),
      h("h3", null, "To try again what failed for reasons outside of the photo"), command(run.commands.retry)),
    h("div", {className: "panel scroll", tabIndex: 0, role: "region", "aria-label": "Models"}, h("h3", null, "Models"),
      h("table", {className: "models"}, h("thead", null, h("tr", null, ["Model", "File", "SHA-256"].map((text) => h("th", {scope: "col"}, text)))),
        h("tbody", null, models.map(([name, one]) => h("tr", null, h("th", {scope: "row"}, name), h("td", null, visible(one.path ?? one.name ?? "")),
          h("td", {className: "hash"}, one.sha256 ?? "")))))),
    h("div", {className: "panel"}, h("h3", null, "Facts"), list([
      ["Run", run.run?.run_id ?? ""], ["Report made", run.made], ["Chromaflow", run.chromaflow],
      ["Host", visible(run.steps[0]?.host ?? "")], ["Platform", run.steps[0]?.platform ?? ""],
      ["Libraries", Object.entries(run.steps[0]?.versions ?? {}).map(([name, text]) => `${name} ${text}`).join(", ")],
      ["Photos", size(run.bytes.photos)], ["Outputs", size(run.bytes.outputs)], ["This report", size(run.bytes.report)],
      ...run.steps.map((step) => [`Step ${step.step}`, `${duration(step.seconds)}, ${number(step.peak_mb)} MB, fingerprint ${step.fingerprint.slice(0, 12)}`])])),
    h("div", {className: "panel"}, h("h3", null, "For programs"), h("ul", null, twins.map(([name, text]) => h("li", null, h("a", {href: name}, name), ` ${text}`)))));
}

/* ---------- changes against another output ---------- */

function drawChanges() {
  const summary = run.changes;
  const {rows, pictures} = self.chromaflow.changes;
  const body = $("changes-body");
  $("changes").hidden = $("to-changes").hidden = false;
  body.className = "stack";
  const better = (before, now) => before === null || before === undefined ? "" : `${number(before, 1)} → ${number(now, 1)}`;
  const tiles = [["colours differ", number(summary.colours)], ["mean ΔE00 of these", number(summary.mean_dE00, 2)],
    ["largest ΔE00 of a pixel", number(summary.max_dE00, 1)], ["their colourfulness", better(summary.colourfulness_before, summary.colourfulness)],
    ["other status", number(summary.status)], ["added", number(summary.added)], ["removed", number(summary.removed)],
    ["original replaced", number(summary.original)], ["not comparable", number(summary.unreadable)]];
  body.append(h("p", null, `Against ${visible(summary.against)}: ${plural(summary.compared, "photo")} coloured in both, ${number(summary.equal)} of them byte for byte the same.`),
    h("dl", {className: "tiles"}, tiles.filter(([, text]) => text && text !== "0").map(([name, text]) => h("div", null, h("dt", null, name), h("dd", null, text)))));
  const of = new Map(rows.map((row) => [row.path, row]));
  if (pictures.length) {
    body.append(h("h3", null, `The ${pictures.length === 1 ? "largest change" : `${pictures.length} largest changes`}: before | now`),
      h("ul", {className: "pictures"}, pictures.map((one) => h("li", {className: "card"},
        h("div", {className: "picture"}, slider(`Before and now: ${visible(one.path)}`, [jpeg(one.before)], [jpeg(one.after)]), badge()),
        h("div", {className: "facts"}, h("span", null, visible(one.path)),
          h("small", null, `ΔE00 mean ${number(of.get(one.path).mean_dE00, 2)}, max ${number(of.get(one.path).max_dE00, 1)} · colourfulness ${better(of.get(one.path).colourfulness_before, of.get(one.path).colourfulness)}`))))));
  }
  const others = rows.filter((row) => row.change !== "colours");
  if (others.length) {
    body.append(h("h3", null, "Photos whose status changed, or that are in one only"),
      h("ul", {className: "panel"}, others.slice(0, 100).map((row) => h("li", null, h("code", null, visible(row.path)), ` ${row.change}`,
        row.change === "status" ? `: ${row.status_before} → ${row.status}` : "", row.reason ?? row.reason_before ? ` ${row.reason ?? row.reason_before}` : ""))));
  }
  body.append(h("p", null, "All of them: ", h("a", {href: "changes.csv"}, "changes.csv")));
}

/* ---------- begin ---------- */

drawTop();
drawRun();
readDecisions();
requestAnimationFrame(() => setTimeout(async () => {
  await loadScript("photos.js");
  prepare();
  drawFailures();
  drawHeads();
  drawFilters();
  refresh();
  prepareReview();
  $("scroller").addEventListener("scroll", () => drawTable(), {passive: true});
  $("scroller").addEventListener("keydown", tableKeys);
  $("review-body").addEventListener("keydown", reviewKeys);
  new ResizeObserver(() => { if (view === "table") drawTable(true); }).observe($("scroller"));
  if (run.changes) await loadScript("changes.js").then(drawChanges);
  document.body.dataset.ready = "yes";
}));
})();
