/* Decisions on photos, kept by the browser, and the queue of those to look at. */
"use strict";

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
/** What `chromaflow review` was told before this page was written, by path. */
const told = new Map(Object.entries(run.decided));
/** Of an output, as much as tells it from another one of the same photo. */
const mark = (row) => value(row, "output_sha256").slice(0, 12);
/** The decision on a photo; one on another output of it does not count any more. */
function decisionOf(row) {
  const found = decisions.get(path(row)) ?? told.get(path(row));
  return found && found.output === mark(row) ? found : null;
}
function decide(row, change) {
  const found = {
    decision: "",
    note: "",
    ...decisionOf(row),
    ...change,
    output: mark(row),
    time: new Date().toISOString(),
  };
  if (found.decision || found.note || told.has(path(row))) decisions.set(path(row), found);
  else decisions.delete(path(row));
  keepDecisions();
}
/** As storage/records/safe_csv.py: no cell begins a formula. */
function cell(text) {
  const safe = /^ *[=+\-@\t\r\n]/.test(text) ? `'${text}` : text;
  return `"${safe.replaceAll('"', '""')}"`;
}
/** Row → decision, of those that stand; found by the columns, so that no page is loaded. */
function decidedRows() {
  const wanted = new Map();
  const every = new Map([...told, ...decisions]);
  for (const [name, one] of every) {
    const numbers = `${pathMark(name)} ${parseInt(one.output, 16)}`;
    wanted.set(numbers, one);
  }
  const rows = new Map();
  if (!wanted.size || !keys.output_sha256 || !keys.mark) return rows;
  const marks = new Set(Array.from(every.keys(), pathMark));
  for (let row = 0; row < photos.count; row += 1) {
    if (!marks.has(keys.mark[row])) continue;
    const one = wanted.get(`${keys.mark[row]} ${keys.output_sha256[row]}`);
    if (one) rows.set(row, one);
  }
  return rows;
}
async function reviewCsv() {
  const heads = [
    "path",
    "decision",
    "note",
    "uncertainty",
    "output",
    "sha256",
    "output_sha256",
    "time",
  ];
  const given = decidedRows();
  const lines = [];
  for (const row of queue) {
    if (!given.has(row)) continue;
    await needed([row]);
    const found = decisionOf(row);
    if (!found) continue;
    const uncertainty = value(row, "uncertainty");
    const line = [
      path(row),
      found.decision,
      found.note,
      uncertainty === null ? "" : String(uncertainty),
      value(row, "output"),
      value(row, "sha256"),
      value(row, "output_sha256"),
      found.time,
    ]
      .map(cell)
      .join(",");
    lines.push(line);
  }
  return [heads.map(cell).join(","), ...lines, ""].join("\r\n");
}

let queue = new Uint32Array(),
  current = 0,
  drawn = 0;
async function prepareReview() {
  await loadKeys("output_sha256", "mark", "uncertainty", "share");
  const known = Boolean(keys.uncertainty);
  const key = known ? (row) => keys.uncertainty[row] : (row) => 1 - (keys.share?.[row] ?? NaN);
  const coloured = photos.statuses.indexOf("coloured");
  const rows = [];
  for (let row = 0; row < photos.count; row += 1) if (keys.status[row] === coloured) rows.push(row);
  const numbers = Float64Array.from(rows, (row) => (key(row) === key(row) ? key(row) : -1));
  const places = Uint32Array.from(rows, (_, place) => place);
  places.sort((a, b) => numbers[b] - numbers[a] || a - b);
  queue = places.map((place) => rows[place]);
  $("review-order").textContent = !queue.length
    ? "There is nothing to review."
    : known
      ? "The most uncertain colours come first."
      : "This run recorded no uncertainty (colorize --uncertainty), so the photos whose categories are mixed most evenly come first.";
  $("review-how").replaceChildren(
    "Decisions made here stay in this browser. For full-size photos, other colourings, hints by click and decisions that the next run obeys: ",
    h("code", null, visible(run.commands.review)),
  );
  const given = decidedRows();
  current = Math.max(0, queue.findIndex((row) => !given.get(row)?.decision));
  await drawReview();
}
async function drawReview(focus = false) {
  const body = $("review-body");
  if (!queue.length) {
    body.replaceChildren();
    return;
  }
  drawn += 1;
  const mine = drawn;
  const loading = needed([queue[current]]);
  if (loading) await loading;
  if (mine !== drawn) return;
  const row = queue[current];
  const given = decisionOf(row);
  const num = [...decidedRows().values()].filter((one) => one.decision).length;
  const note = h("textarea", {
    value: given?.note ?? "",
    onchange: () => decide(row, {note: note.value}),
    onkeydown: (event) => {
      if (event.key === "Escape") {
        decide(row, {note: note.value});
        drawReview(true);
        event.stopPropagation();
      }
    },
  });
  const act = (decision) => () => {
    decide(row, {decision, note: note.value});
    step(1, true);
  };
  const key = (text) => h("kbd", null, text);
  body.className = "reviewing";
  body.replaceChildren(
    viewer(row),
    h(
      "div",
      null,
      h(
        "p",
        null,
        h("strong", null, visible(path(row))),
        " ",
        given?.decision ? pill(given.decision) : null,
      ),
      h(
        "p",
        {role: "status"},
        `Photo ${number(current + 1)} of ${number(queue.length)}, ${number(num)} decided`,
      ),
      h("progress", {max: queue.length, value: num, "aria-label": "Decided"}),
      h(
        "div",
        {className: "actions"},
        h(
          "button",
          {
            type: "button",
            className: "primary",
            onclick: act("approved"),
            "aria-keyshortcuts": "a",
          },
          "Approve",
          key("a"),
        ),
        h(
          "button",
          {type: "button", onclick: act("rejected"), "aria-keyshortcuts": "r"},
          "Reject",
          key("r"),
        ),
        h(
          "button",
          {
            type: "button",
            onclick: () => step(-1),
            disabled: current === 0,
            "aria-keyshortcuts": "k",
          },
          "Back",
          key("k"),
        ),
        h(
          "button",
          {
            type: "button",
            onclick: () => step(1),
            disabled: current === queue.length - 1,
            "aria-keyshortcuts": "j",
          },
          "Next",
          key("j"),
        ),
      ),
      h("label", null, h("span", null, "Note", key("n")), note),
      h(
        "div",
        {className: "actions"},
        h("button", {type: "button", onclick: saveCsv}, "Save decisions as CSV"),
        given
          ? h(
              "button",
              {
                type: "button",
                onclick: () => {
                  decisions.delete(path(row));
                  keepDecisions();
                  drawReview(true);
                },
              },
              "Undo this one",
            )
          : null,
      ),
      stored
        ? null
        : h(
            "p",
            {role: "alert"},
            "This browser keeps nothing for pages from the disk: save the CSV before you close it.",
          ),
      list([
        ["Category mix", mixText(row)],
        [
          "Uncertainty",
          value(row, "uncertainty") === null
            ? ""
            : `${number(value(row, "uncertainty"), 2)} Lab units`,
        ],
        ["Description", visible(value(row, "description"))],
        [
          "Output",
          h(
            "a",
            {href: urlOf(run.outputs_at, value(row, "output")), target: "_blank", rel: "noopener"},
            visible(value(row, "output")),
          ),
        ],
      ]),
    ),
  );
  if (focus) body.focus({preventScroll: true});
}
function step(by, focus = true) {
  current = Math.min(Math.max(0, current + by), queue.length - 1);
  drawReview(focus);
}
function reviewKeys(event) {
  if (
    event.ctrlKey ||
    event.metaKey ||
    event.altKey ||
    event.target.closest("textarea, input, select")
  )
    return;
  const buttons = {a: "a", r: "r", j: "j", k: "k"};
  if (event.key === "n") {
    event.preventDefault();
    $("review-body").querySelector("textarea").focus();
  } else if (buttons[event.key]) {
    event.preventDefault();
    $("review-body").querySelector(`[aria-keyshortcuts="${event.key}"]`).click();
  }
}
async function saveCsv() {
  const url = URL.createObjectURL(new Blob([await reviewCsv()], {type: "text/csv"}));
  h("a", {href: url, download: "review.csv"}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
