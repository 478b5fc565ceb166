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
/** Of an output, as much as tells it from another one of the same photo. */
const mark = (row) => value(row, "output_sha256").slice(0, 12);
/** The decision on a photo; one on another output of it does not count any more. */
function decisionOf(row) {
  const found = decisions.get(path(row));
  return found && found.output === mark(row) ? found : told(row);
}
/** What `chromaflow review` was told of a photo before this page was written. */
function told(row) {
  const [decision, note] = [value(row, "decision") ?? "", value(row, "note") ?? ""];
  return decision || note ? {decision, note, output: mark(row), time: ""} : null;
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
  if (found.decision || found.note || told(row)) decisions.set(path(row), found);
  else decisions.delete(path(row));
  keepDecisions();
}
/** As storage/records/safe_csv.py: no cell begins a formula. */
function cell(text) {
  const safe = /^ *[=+\-@\t\r\n]/.test(text) ? `'${text}` : text;
  return `"${safe.replaceAll('"', '""')}"`;
}
function reviewCsv() {
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
  const lines = queue.filter(decisionOf).map((row) => {
    const found = decisionOf(row);
    const uncertainty = value(row, "uncertainty");
    return [
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
  });
  return [heads.map(cell).join(","), ...lines, ""].join("\r\n");
}

let queue = [],
  current = 0;
function prepareReview() {
  const known = Boolean(columns.uncertainty);
  const key = known ? (row) => value(row, "uncertainty") : mixed;
  queue = photos.filter((row) => value(row, "status") === "coloured");
  queue.sort((a, b) => (key(b) ?? -1) - (key(a) ?? -1) || a - b);
  $("review-order").textContent = !queue.length
    ? "There is nothing to review."
    : known
      ? "The most uncertain colours come first."
      : "This run recorded no uncertainty (colorize --uncertainty), so the photos whose categories are mixed most evenly come first.";
  $("review-how").replaceChildren(
    "Decisions made here stay in this browser. For full-size photos, other colourings, hints by click and decisions that the next run obeys: ",
    h("code", null, visible(run.commands.review)),
  );
  const open = queue.findIndex((row) => !decisionOf(row)?.decision);
  current = Math.max(0, open);
  drawReview();
}
function drawReview(focus = false) {
  const body = $("review-body");
  if (!queue.length) {
    body.replaceChildren();
    return;
  }
  const row = queue[current];
  const given = decisionOf(row);
  const num = queue.filter((one) => decisionOf(one)?.decision).length;
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
function saveCsv() {
  const url = URL.createObjectURL(new Blob([reviewCsv()], {type: "text/csv"}));
  h("a", {href: url, download: "review.csv"}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
