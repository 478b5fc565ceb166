/* Trainings: curves by epoch, scores beside what they are read against, samples, earlier ones. */
"use strict";

const METHODS = {
  gray: "no colour at all",
  constant: "one colour for all photos, their mean",
  "photo mean": "each photo's own mean colour",
  starter: "the network that comes with Chromaflow",
  expert: "this training",
};

function drawTrainings() {
  const found = self.chromaflow.trainings;
  $("training").hidden = $("to-training").hidden = false;
  $("training-body").className = "stack";
  $("training-body").append(...found.map(drawTraining));
}
/** Of a workspace that only trains. */
function hidePhotos() {
  for (const id of ["photos", "review"]) {
    $(id).hidden = true;
    document.querySelector(`.sections a[href="#${id}"]`).hidden = true;
  }
}
function drawTraining(one) {
  const name = one.stage === "pretrain" ? `${one.category}, before all categories` : one.category;
  const {epoch = [], loss = [], delta_e: deltaE = [], colourfulness = []} = one.curves;
  const charts = [
    chart("Training loss", epoch, loss),
    chart("Validation ΔE00", epoch, deltaE, "gray", one.curves.gray_delta_e?.at(-1)),
    chart("Colourfulness", epoch, colourfulness, "truth", one.curves.truth_colourfulness?.at(-1)),
  ];
  return h(
    "article",
    {className: "panel stack"},
    h(
      "header",
      null,
      h("h3", null, name),
      h(
        "p",
        {className: "notice"},
        `${one.network ?? "network"} from ${one.init ?? "?"}, ${plural(one.photos ?? 0, "photo")}, `,
        `${plural(one.epochs ?? epoch.length, "epoch")} in ${duration(one.seconds)}, made `,
        moment(one.made),
      ),
    ),
    h("div", {className: "charts"}, charts),
    h(
      "div",
      {className: "halves"},
      h("div", null, scoreTable(one.scores), earlierTable(one)),
      one.samples ? samplesOf(one.samples, name) : null,
    ),
  );
}
function samplesOf(source, name) {
  return h(
    "figure",
    {className: "samples"},
    h("figcaption", null, "Validation photos: gray, as coloured, as they are"),
    h(
      "a",
      {href: source, target: "_blank", rel: "noopener"},
      h("img", {
        src: source,
        alt: `Validation photos of ${name}: gray, as coloured, as they are`,
      }),
    ),
  );
}

/** Two to five round numbers between two others. */
function roundNumbers(low, high) {
  const rough = (high - low) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const first = Math.ceil(low / step);
  return Array.from({length: Math.floor(high / step) - first + 1}, (_, i) => (first + i) * step);
}

/** A line over the epochs; level: a value to read it against. */
function chart(title, epochs, values, levelName, level) {
  const points = epochs.map((x, i) => [x, values[i]]).filter(([, y]) => typeof y === "number");
  if (!points.length) return null;
  const ys = [...points.map(([, y]) => y), ...(typeof level === "number" ? [level] : [])];
  const xs = points.map(([x]) => x);
  const [left, right, top, bottom, width, height] = [46, 12, 10, 24, 360, 190];
  let [low, high] = [Math.min(...ys), Math.max(...ys)];
  const room = (high - low || Math.abs(high) || 1) * 0.08;
  [low, high] = [low - room, high + room];
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const atX = (x) => left + ((width - left - right) * (x - first)) / (last - first || 1);
  const atY = (y) => top + (height - top - bottom) * (1 - (y - low) / (high - low));
  const ticks = roundNumbers(low, high);
  const digits = Math.max(0, Math.min(4, -Math.floor(Math.log10((high - low) / 3))));
  const path = points.map(([x, y]) => `${atX(x).toFixed(1)},${atY(y).toFixed(1)}`).join(" ");
  const [start, end] = [points[0], points.at(-1)].map(([, y]) => number(y, 2));
  const said = `${title}: from ${start} to ${end} over ${plural(points.length, "epoch")}`;
  const hasLevel = typeof level === "number";
  const many = points.length > 60;
  return h(
    "figure",
    {className: "chart"},
    h(
      "figcaption",
      null,
      title,
      hasLevel ? h("small", null, ` – – ${levelName} ${number(level, 1)}`) : null,
    ),
    svg(
      "svg",
      {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said},
      ticks.flatMap((y) => [
        svg("line", {class: "grid", x1: left, x2: width - right, y1: atY(y), y2: atY(y)}),
        svg("text", {x: left - 6, y: atY(y) + 4, "text-anchor": "end"}, number(y, digits)),
      ]),
      svg("text", {x: left, y: height - 6}, `epoch ${first}`),
      last > first
        ? svg("text", {x: width - right, y: height - 6, "text-anchor": "end"}, `${last}`)
        : null,
      hasLevel
        ? svg("line", {class: "level", x1: left, x2: width - right, y1: atY(level), y2: atY(level)})
        : null,
      svg("polyline", {class: "curve", points: path}),
      many ? null : points.map(([x, y]) => svg("circle", {cx: atX(x), cy: atY(y), r: 3})),
    ),
  );
}

function scoreTable(scores) {
  if (!scores.length) return h("p", {className: "notice"}, "It was not evaluated.");
  const best = Math.min(...scores.map((row) => row.delta_e));
  return tableOf(
    "Scores on validation photos",
    ["Colours of", "ΔE00", "PSNR", "Colourfulness"],
    scores.map((row) => [
      h("span", null, row.method, h("small", null, ` ${METHODS[row.method] ?? ""}`)),
      row.delta_e === best ? h("strong", null, number(row.delta_e, 2)) : number(row.delta_e, 2),
      number(row.psnr, 2),
      number(row.colourfulness, 1),
    ]),
  );
}
function earlierTable(one) {
  if (!one.earlier.length) return null;
  const differences = (row) =>
    Object.entries(row.differs)
      .map(([name, values]) => [name, ...values.map((one) => visible(JSON.stringify(one)))])
      .map(([name, then, now]) => `${name} ${then}, now ${now}`)
      .join("; ") || "code";
  return tableOf(
    "Earlier trainings",
    ["Made", "ΔE00", "Epochs", "Photos", "What differs"],
    one.earlier.map((row) => [
      moment(row.made),
      number(row.delta_e, 2),
      number(row.epochs),
      number(row.photos),
      differences(row),
    ]),
  );
}
function tableOf(title, heads, rows) {
  return h(
    "div",
    {className: "scroll", tabIndex: 0, role: "region", "aria-label": title},
    h("h4", null, title),
    h(
      "table",
      {className: "facts-table"},
      h("thead", null, h("tr", null, heads.map((text) => h("th", {scope: "col"}, text)))),
      h(
        "tbody",
        null,
        rows.map(([name, ...cells]) =>
          h("tr", null, h("th", {scope: "row"}, name), cells.map((cell) => h("td", null, cell))),
        ),
      ),
    ),
  );
}
