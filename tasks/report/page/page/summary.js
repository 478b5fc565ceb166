/* Counts, failures, the run itself, and changes against another output. */
"use strict";

function drawTop() {
  document.title = `Chromaflow run report: ${visible(run.source)}`;
  const when = run.run ? `run ${run.run.run_id}` : "no run";
  const place = [run.source, run.output].filter(Boolean).map(visible).join(" → ");
  $("source").textContent = `${place} · ${when}`;
  const state = run.run?.state ?? "unknown";
  const code = run.run?.exit_code;
  const words = state === "done" && code === 6 ? "finished with failures" : state;
  $("outcome").append(
    h(
      "span",
      {className: `pill ${code === 0 ? "good" : "failed"}`},
      `${words}${code === null || code === undefined ? "" : ` · exit ${code}`}`,
    ),
  );
  const total = Object.values(run.counts).reduce((a, b) => a + b, 0);
  if (!total && run.trainings) return;
  const tiles = [
    ["photos", number(total)],
    ...Object.entries(run.counts)
      .filter(([name, count]) => count || name === "failed")
      .map(([name, count]) => [name, number(count)]),
    ...Object.entries(run.review).map(([name, count]) => [name, number(count)]),
    ["of outputs", size(run.bytes.outputs)],
    ["computing", duration(run.steps.reduce((sum, step) => sum + step.seconds, 0))],
  ];
  $("counts").append(
    ...tiles.map(([name, text]) => h("div", null, h("dt", null, name), h("dd", null, text))),
  );
  $("counts").after(...run.warnings.map((text) => h("p", {className: "panel"}, visible(text))));
}

/** The photos that matter most, from run.js alone: they are there before the table is. */
function drawFirst() {
  $("first").hidden = !run.first.length;
  $("first-body").append(
    ...run.first.map((photo) => {
      const box = h("div", {className: "picture"});
      loadPack(photo.pack).then((pack) => {
        const found = pack?.[photo.picture];
        if (found) box.append(beforeAndAfter(photo, found, true), badge());
        else box.append(h("p", {className: "none"}, "The file of small pictures is missing."));
      });
      return h(
        "article",
        {className: "card"},
        box,
        h(
          "div",
          {className: "facts"},
          h("strong", null, photo.why),
          h(
            "a",
            {href: urlOf(run.outputs_at, photo.output), target: "_blank", rel: "noopener"},
            visible(photo.path),
          ),
          h("small", null, photo.said),
        ),
      );
    }),
  );
}

function drawFailures() {
  const body = $("failures-body");
  body.className = "stack";
  const failed = run.reasons.filter((reason) => reason.status === "failed");
  const skipped = run.reasons.filter((reason) => reason.status === "skipped");
  for (const failure of run.run?.failures ?? []) {
    body.append(
      h(
        "div",
        {className: "panel reason"},
        h("h3", null, `Step ${failure.step} failed`),
        h("p", null, visible(failure.error)),
      ),
    );
  }
  if (!failed.length && !body.children.length) body.append(h("p", null, "No photo failed."));
  body.append(...failed.map(drawReason));
  if (skipped.length) {
    body.append(h("h3", null, "Skipped on purpose"), ...skipped.map(drawReason));
  }
}
function drawReason(reason) {
  return h(
    "article",
    {className: "panel reason"},
    h(
      "header",
      null,
      h("h3", null, reason.code),
      pill(reason.status),
      h("span", null, plural(reason.count, "photo")),
    ),
    h("p", null, reason.meaning),
    h("p", {className: "remedy"}, withCode(reason.remedy)),
    h(
      "ul",
      null,
      reason.examples.map((one) =>
        h(
          "li",
          null,
          h("code", null, visible(one.path)),
          one.detail ? h("span", null, ` ${visible(one.detail)}`) : null,
        ),
      ),
    ),
    reason.count > reason.examples.length
      ? h(
          "button",
          {type: "button", onclick: () => showReason(reason)},
          `Show all ${number(reason.count)}`,
        )
      : null,
    reason.status === "failed" ? command(reason.retry) : null,
  );
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

function drawRun() {
  const models = run.models
    ? [
        ...Object.entries(run.models.experts).map(([name, one]) => [`expert ${name}`, one]),
        ["segmenter", run.models.segmenter],
      ]
    : [];
  const twins = [
    ["run.json", "what this page says of the run"],
    ["photos.parquet", "the table, with all hashes"],
    ["failures.csv", "failures with remedies"],
    ["events.jsonl", "what the run did, event by event"],
  ];
  $("run-body").className = "stack";
  $("run-body").append(
    h(
      "div",
      {className: "panel"},
      h("h3", null, "To do it again"),
      command(run.commands.reproduce),
      h("h3", null, "To try again what failed for reasons outside of the photo"),
      command(run.commands.retry),
    ),
    h(
      "div",
      {className: "panel scroll", tabIndex: 0, role: "region", "aria-label": "Models"},
      h("h3", null, "Models"),
      h(
        "table",
        {className: "models"},
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            ["Model", "File", "SHA-256"].map((text) => h("th", {scope: "col"}, text)),
          ),
        ),
        h(
          "tbody",
          null,
          models.map(([name, one]) =>
            h(
              "tr",
              null,
              h("th", {scope: "row"}, name),
              h("td", null, visible(one.path ?? one.name ?? "")),
              h("td", {className: "hash"}, one.sha256 ?? ""),
            ),
          ),
        ),
      ),
    ),
    h(
      "div",
      {className: "panel"},
      h("h3", null, "Facts"),
      list([
        ["Run", run.run?.run_id ?? ""],
        ["Report made", run.made],
        ["Chromaflow", run.chromaflow],
        ["Host", visible(run.steps[0]?.host ?? "")],
        ["Platform", run.steps[0]?.platform ?? ""],
        [
          "Libraries",
          Object.entries(run.steps[0]?.versions ?? {})
            .map(([name, text]) => `${name} ${text}`)
            .join(", "),
        ],
        ["Photos", size(run.bytes.photos)],
        ["Outputs", size(run.bytes.outputs)],
        ["This report", size(run.bytes.report)],
        ...run.steps.map((step) => [
          `Step ${step.step}`,
          `${duration(step.seconds)}, ${number(step.peak_mb)} MB, fingerprint ${step.fingerprint.slice(0, 12)}`,
        ]),
      ]),
    ),
    h(
      "div",
      {className: "panel"},
      h("h3", null, "For programs"),
      h(
        "ul",
        null,
        twins.map(([name, text]) => h("li", null, h("a", {href: name}, name), ` ${text}`)),
      ),
    ),
  );
}

function drawChanges() {
  const summary = run.changes;
  const {rows, pictures} = self.chromaflow.changes;
  const body = $("changes-body");
  $("changes").hidden = $("to-changes").hidden = false;
  body.className = "stack";
  const better = (before, now) =>
    before === null || before === undefined ? "" : `${number(before, 1)} → ${number(now, 1)}`;
  const tiles = [
    ["colours differ", number(summary.colours)],
    ["mean ΔE00 of these", number(summary.mean_dE00, 2)],
    ["largest ΔE00 of a pixel", number(summary.max_dE00, 1)],
    ["their colourfulness", better(summary.colourfulness_before, summary.colourfulness)],
    ["other status", number(summary.status)],
    ["added", number(summary.added)],
    ["removed", number(summary.removed)],
    ["original replaced", number(summary.original)],
    ["not comparable", number(summary.unreadable)],
  ];
  body.append(
    h(
      "p",
      null,
      `Against ${visible(summary.against)}: ${plural(summary.compared, "photo")} coloured in both, ${number(summary.equal)} of them byte for byte the same.`,
    ),
    h(
      "dl",
      {className: "tiles"},
      tiles
        .filter(([, text]) => text && text !== "0")
        .map(([name, text]) => h("div", null, h("dt", null, name), h("dd", null, text))),
    ),
  );
  const of = new Map(rows.map((row) => [row.path, row]));
  if (pictures.length) {
    body.append(
      h(
        "h3",
        null,
        `The ${pictures.length === 1 ? "largest change" : `${pictures.length} largest changes`}: before | now`,
      ),
      h(
        "ul",
        {className: "pictures"},
        pictures.map((one) =>
          h(
            "li",
            {className: "card"},
            h(
              "div",
              {className: "picture"},
              slider(`Before and now: ${visible(one.path)}`, [jpeg(one.before)], [jpeg(one.after)]),
              badge(),
            ),
            h(
              "div",
              {className: "facts"},
              h("span", null, visible(one.path)),
              h(
                "small",
                null,
                `ΔE00 mean ${number(of.get(one.path).mean_dE00, 2)}, max ${number(of.get(one.path).max_dE00, 1)} · colourfulness ${better(of.get(one.path).colourfulness_before, of.get(one.path).colourfulness)}`,
              ),
            ),
          ),
        ),
      ),
    );
  }
  const others = rows.filter((row) => row.change !== "colours");
  if (others.length) {
    body.append(
      h("h3", null, "Photos whose status changed, or that are in one only"),
      h(
        "ul",
        {className: "panel"},
        others.map((row) =>
          h(
            "li",
            null,
            h("code", null, visible(row.path)),
            ` ${row.change}`,
            row.change === "status" ? `: ${row.status_before} → ${row.status}` : "",
            (row.reason ?? row.reason_before) ? ` ${row.reason ?? row.reason_before}` : "",
          ),
        ),
      ),
    );
  }
  body.append(h("p", null, "All of them: ", h("a", {href: "changes.csv"}, "changes.csv")));
}
