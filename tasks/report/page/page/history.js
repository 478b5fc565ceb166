/* The runs of the folder: counts, times, reasons, a timeline of the steps, and which two to compare. */
"use strict";

function drawHistory() {
  const {runs, compare} = self.chromaflow.history;
  const body = $("history-body");
  body.className = "stack";
  if (!runs.length) {
    body.append(h("p", null, "No run kept its events."));
    return;
  }
  if (runs.length > 1) body.append(drawComparison(runs, compare));
  body.append(...runs.map((one, i) => drawRunOf(one, i === 0)));
}
function drawRunOf(one, open) {
  const words = one.state === "done" && one.exit_code === 6 ? "finished with failures" : one.state;
  const counts = Object.entries(one.counts).map(([name, count]) => `${number(count)} ${name}`);
  const box = h(
    "details",
    {className: "panel run", id: `run-${one.run_id}`},
    h(
      "summary",
      null,
      h("strong", null, moment(one.begun)),
      pill(words),
      one.seconds === null ? null : h("span", null, duration(one.seconds)),
      h("span", null, counts.join(", ") || `${number(one.computed)} computed`),
    ),
  );
  const fill = () => {
    if (box.children.length === 1) box.append(...runBody(one));
  };
  box.addEventListener("toggle", fill);
  if (open) {
    box.open = true;
    fill();
  }
  box.querySelector(".pill").classList.add(one.exit_code === 0 ? "good" : "failed");
  return box;
}
function runBody(one) {
  const reasons = Object.entries(one.reasons).map(([code, count]) => `${code} ${number(count)}`);
  return [
    list([
      ["Run", h("span", {className: "hash"}, one.run_id)],
      ["Exit code", one.exit_code === null ? "" : `${one.exit_code}`],
      ["Error", visible(one.error)],
      ["Failed and skipped", reasons.join(", ")],
    ]),
    timeline(one),
  ];
}

/** A bar a step: waiting for the steps before it, preparing, at work. */
function timeline(one) {
  const at = (text) => (text ? Date.parse(text) : null);
  const begin = at(one.begun);
  const times = one.steps.flatMap((step) => [at(step.decided), at(step.begun), at(step.ended)]);
  const end = Math.max(at(one.ended) ?? begin, ...times.filter((time) => time !== null));
  const whole = end - begin || 1;
  const bar = (from, to, kind) =>
    from === null || to === null || to <= from
      ? null
      : svg("rect", {
          class: kind,
          x: ((from - begin) / whole) * 1000,
          width: Math.max(2, ((to - from) / whole) * 1000),
          y: 0,
          height: 12,
        });
  const rows = one.steps.map((step) => {
    const [decided, begun, ended] = [step.decided, step.begun, step.ended].map(at);
    const isSkipped = step.action === "skip";
    const waited = decided === null ? 0 : (decided - begin) / 1000;
    const took = ended === null ? null : (ended - (begun ?? decided ?? begin)) / 1000;
    const why = isSkipped ? "up to date" : (step.reasons ?? []).join("; ");
    const said = [
      isSkipped ? "up to date" : took === null ? "not ended" : `took ${duration(took)}`,
      waited >= 0.5 && !isSkipped ? `after waiting ${duration(waited)}` : "",
    ].filter(Boolean);
    return h(
      "li",
      {className: isSkipped ? "step skipped" : "step"},
      h("span", {className: "name"}, visible(step.step)),
      svg(
        "svg",
        {viewBox: "0 0 1000 12", preserveAspectRatio: "none", "aria-hidden": "true"},
        bar(begin, decided, "waiting"),
        isSkipped ? null : bar(decided, begun, "preparing"),
        isSkipped ? null : bar(begun ?? decided, ended ?? end, step.error ? "failing" : "working"),
      ),
      h("span", {className: "took"}, said.join(", ")),
      h("small", {className: "why"}, visible(step.error ?? why)),
    );
  });
  return h(
    "div",
    null,
    h("h4", null, "Steps"),
    h("ul", {className: "timeline"}, rows),
    h(
      "p",
      {className: "key notice"},
      h("i", {className: "waiting"}),
      "waiting for steps before",
      h("i", {className: "preparing"}),
      "preparing",
      h("i", {className: "working"}),
      "at work",
    ),
  );
}

/** The command that compares any two runs. */
function drawComparison(runs, compare) {
  const choice = (id, label, at) => {
    const select = h(
      "select",
      {id},
      runs.map((one) => h("option", {value: one.run_id}, `${one.run_id}, ${one.state}`)),
    );
    select.selectedIndex = at;
    select.addEventListener("change", show);
    return [h("div", null, h("label", {for: id}, label), select), select];
  };
  const place = h("div", {role: "status"});
  const [nowBox, now] = choice("run-now", "Run", 0);
  const [thenBox, then] = choice("run-then", "Against", 1);
  function show() {
    const words = `${compare} --run ${now.value} --against ${then.value}`;
    place.replaceChildren(
      now.value === then.value ? h("p", null, "Choose two runs.") : command(words),
    );
  }
  show();
  return h(
    "div",
    {className: "panel"},
    h("h3", null, "Compare two runs"),
    h("div", {className: "choices"}, nowBox, thenBox),
    place,
  );
}
