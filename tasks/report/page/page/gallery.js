/* Filters, order and the grid of pictures. */
"use strict";

const PAGE = 24;
const order = {by: "", down: false};
let found = new Uint32Array(),
  view = "grid",
  page = 0,
  asked = 0;

/** A number of each row to sort by, NaN or a code beyond all for none. */
async function sortKey() {
  const names = {mix: ["most", "share"], path: ["path"]}[order.by] ?? [order.by];
  await loadKeys(...names);
  switch (order.by) {
    case "mix":
      return (row) => (dominantOf(row) < 0 ? NaN : dominantOf(row) + 1 - keys.share[row]);
    case "reason":
      return (row) => (keys.reason[row] < photos.reasons.length ? keys.reason[row] : NaN);
    case "path":
      return keys.path ? (row) => keys.path[row] : (row) => row;
    default:
      return keys[order.by] ? (row) => keys[order.by][row] : () => NaN;
  }
}
/** Rows in the chosen order; those without a value last, whichever way. */
async function sorted(rows) {
  if (!order.by) return rows;
  const key = await sortKey();
  const numbers = Float64Array.from(rows, key);
  const way = order.down ? -1 : 1;
  const places = Uint32Array.from(rows, (_, place) => place);
  places.sort((a, b) => {
    const x = numbers[a],
      y = numbers[b];
    if (x !== x || y !== y) return (x !== x) - (y !== y) || rows[a] - rows[b];
    return way * (x - y) || rows[a] - rows[b];
  });
  return places.map((place) => rows[place]);
}
/** The rows that fit what is chosen; a search reads page after page and shows what it has. */
async function refresh() {
  asked += 1;
  const mine = asked;
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [status, reason, most, decision] = ["status", "reason", "category", "decision"].map(
    (id) => $(id).value,
  );
  if (decision) await loadKeys("output_sha256", "mark");
  const wanted = {
    status: photos.statuses.indexOf(status),
    reason: photos.reasons.indexOf(reason),
    most: run.categories.indexOf(most),
    coloured: photos.statuses.indexOf("coloured"),
  };
  const decided = decision ? decidedRows() : null;
  const rows = new Uint32Array(photos.count);
  let count = 0;
  for (let row = 0; row < photos.count; row += 1) {
    if (
      (!status || keys.status[row] === wanted.status) &&
      (!reason || keys.reason[row] === wanted.reason) &&
      (!most || dominantOf(row) === wanted.most) &&
      (!decision ||
        (keys.status[row] === wanted.coloured &&
          (decided.get(row)?.decision || "undecided") === decision))
    ) {
      rows[count] = row;
      count += 1;
    }
  }
  const chosen = await sorted(rows.subarray(0, count));
  if (mine !== asked) return;
  page = 0;
  active = 0;
  if (words.length) await search(chosen, words, mine);
  else show(chosen, "");
}
/** Take over the rows that are found so far. */
function show(rows, more) {
  found = rows;
  $("found").textContent =
    (found.length === photos.count
      ? plural(found.length, "photo")
      : `${number(found.length)} of ${plural(photos.count, "photo")}`) + more;
  $("sort").value = order.by;
  $("direction").disabled = !order.by;
  $("direction").textContent = order.down ? "Descending" : "Ascending";
  drawView();
}
async function search(rows, words, mine) {
  const places = Uint32Array.from(rows, (_, place) => place);
  places.sort((a, b) => rows[a] - rows[b]);
  const hits = [];
  let drawn = performance.now();
  for (let k = 0; k < places.length; k += 1) {
    const row = rows[places[k]];
    if (!isThere(row)) {
      await needed([row]);
      if (mine !== asked) return;
      if (performance.now() - drawn > 500) {
        const share = Math.floor((100 * k) / places.length);
        show(inOrder(rows, hits), ` so far, ${share} % searched`);
        drawn = performance.now();
      }
    }
    if (words.every((word) => searchedOf(row).includes(word) || isHash(row, word)))
      hits.push(places[k]);
  }
  show(inOrder(rows, hits), "");
}
const inOrder = (rows, places) => Uint32Array.from(places).sort().map((place) => rows[place]);
/** Whether a word is how a SHA-256 of the photo begins; shorter ones would fit by chance. */
const isHash = (row, word) =>
  /^[0-9a-f]{6,}$/.test(word) &&
  (value(row, "sha256")?.startsWith(word) || value(row, "output_sha256")?.startsWith(word));
function reset() {
  for (const id of ["search", "status", "reason", "category", "decision"]) $(id).value = "";
}
function setOrder(by) {
  if (order.by === by) order.down = !order.down;
  else Object.assign(order, {by, down: HEADS.find(([name]) => name === by)?.[2].number ?? false});
  refresh();
}
function drawFilters() {
  const fill = (id, all, values) =>
    $(id).append(
      h("option", {value: ""}, all),
      ...values.map((word) => h("option", {value: word}, word)),
    );
  fill(
    "status",
    "all",
    Object.keys(run.counts).filter((name) => run.counts[name]),
  );
  fill(
    "reason",
    "all",
    run.reasons.map((reason) => reason.code),
  );
  fill("category", "any category", run.categories);
  fill("decision", "all", ["undecided", "approved", "rejected"]);
  $("sort").append(
    h("option", {value: ""}, "as in the archive"),
    ...HEADS.map(([name, title]) => h("option", {value: name}, title.replaceAll("\u00ad", ""))),
  );
  let timer = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, 120);
  });
  for (const id of ["status", "reason", "category", "decision"])
    $(id).addEventListener("change", refresh);
  $("sort").addEventListener("change", () => {
    order.by = $("sort").value;
    refresh();
  });
  $("direction").addEventListener("click", () => {
    order.down = !order.down;
    refresh();
  });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const [name, title] of [
    ["grid", "Pictures"],
    ["table", "Table"],
  ]) {
    $("views").append(
      h(
        "button",
        {
          type: "button",
          "data-view": name,
          onclick: () => {
            setView(name);
            drawView();
          },
        },
        title,
      ),
    );
  }
  for (const [name, title] of Object.entries(MODES)) {
    $("modes").append(
      h("button", {type: "button", "data-mode": name, onclick: () => setMode(name)}, title),
    );
  }
  $("legend").append(
    ...run.categories.map((name) => h("li", null, inColour(h("i"), name), name)),
  );
  setView(view);
  setMode(mode);
}
function setView(name) {
  view = name;
  for (const button of $("views").children)
    button.setAttribute("aria-pressed", button.dataset.view === name);
}
function setMode(name) {
  mode = name;
  for (const button of $("modes").children)
    button.setAttribute("aria-pressed", button.dataset.mode === name);
  if (found.length) drawView();
}
function drawView() {
  const grid = view === "grid";
  $("grid").hidden = $("pages").hidden = $("modes").hidden = !grid;
  $("scroller").hidden = grid;
  $("legend").hidden = grid && mode !== "segments";
  if (grid) drawGrid();
  else {
    $("scroller").scrollTop = 0;
    drawTable(true);
  }
}

async function drawGrid() {
  const rows = Array.from(found.subarray(page * PAGE, (page + 1) * PAGE));
  const [mine, at] = [found, page];
  const loading = needed(rows);
  if (loading) {
    await loading;
    if (mine !== found || at !== page) return;
  }
  $("grid").replaceChildren(
    ...rows.map((row) =>
      h(
        "li",
        {className: "card"},
        picture(row),
        h(
          "div",
          {className: "facts"},
          h(
            "button",
            {type: "button", className: "link", onclick: () => openDetail(row)},
            visible(path(row)),
          ),
          mix(row),
          h(
            "small",
            null,
            [
              mixText(row),
              value(row, "reason"),
              value(row, "uncertainty") === null
                ? null
                : `uncertainty ${number(value(row, "uncertainty"), 1)}`,
            ]
              .filter(Boolean)
              .join(" · "),
          ),
          decisionOf(row)?.decision ? h("span", null, pill(decisionOf(row).decision)) : null,
        ),
      ),
    ),
  );
  if (!rows.length)
    $("grid").append(
      h(
        "li",
        null,
        "No photo fits. ",
        h(
          "button",
          {
            type: "button",
            onclick: () => {
              reset();
              refresh();
            },
          },
          "Clear the filters",
        ),
      ),
    );
  const last = Math.ceil(found.length / PAGE) - 1;
  const go = (to) => () => {
    page = to;
    drawGrid();
    $("photos").scrollIntoView();
  };
  $("pages").replaceChildren(
    ...(last > 0
      ? [
          h("button", {type: "button", disabled: page === 0, onclick: go(page - 1)}, "Previous"),
          h(
            "span",
            {role: "status"},
            `${number(page * PAGE + 1)} to ${number(page * PAGE + rows.length)} of ${number(found.length)}`,
          ),
          h("button", {type: "button", disabled: page === last, onclick: go(page + 1)}, "Next"),
        ]
      : []),
  );
}
