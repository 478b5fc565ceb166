/* Filters, order and the grid of pictures. */
"use strict";

const PAGE = 24;
const collator = new Intl.Collator("en", {numeric: true});
const order = {by: "", down: false};
let found = [],
  view = "grid",
  page = 0;

function sortKey(row) {
  switch (order.by) {
    case "pixels":
      return value(row, "width") === null ? null : value(row, "width") * value(row, "height");
    case "mix":
      return dominant[row] < 0 ? null : dominant[row] - shareOf(row, run.categories[dominant[row]]);
    case "status":
      return Object.keys(run.counts).indexOf(value(row, "status"));
    default:
      return value(row, order.by);
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
  const [status, reason, most, decision] = ["status", "reason", "category", "decision"].map(
    (id) => $(id).value,
  );
  found = sorted(
    photos.filter(
      (row) =>
        (!status || value(row, "status") === status) &&
        (!reason || value(row, "reason") === reason) &&
        (!most || (dominant[row] >= 0 && run.categories[dominant[row]] === most)) &&
        (!decision ||
          (value(row, "status") === "coloured" &&
            (decisionOf(row)?.decision || "undecided") === decision)) &&
        words.every((word) => searched[row].includes(word) || isHash(row, word)),
    ),
  );
  $("found").textContent =
    found.length === photos.length
      ? plural(found.length, "photo")
      : `${number(found.length)} of ${plural(photos.length, "photo")}`;
  $("sort").value = order.by;
  $("direction").disabled = !order.by;
  $("direction").textContent = order.down ? "Descending" : "Ascending";
  page = 0;
  active = 0;
  drawView();
}
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
    ...run.categories.map((name) => h("li", null, h("i", {className: name}), name)),
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

function drawGrid() {
  const rows = found.slice(page * PAGE, (page + 1) * PAGE);
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
