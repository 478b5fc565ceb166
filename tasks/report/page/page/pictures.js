/* The pictures of a photo: before and after, chroma, segmentation, uncertainty. */
"use strict";

const SHOWN_BY_BROWSERS = new Set(["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"]);
const MODES = {
  slider: "Before | after",
  chroma: "Chroma only",
  segments: "Segmentation",
  uncertainty: "Uncertainty",
  variants: "Variants",
};
/** Name and palette of each further colouring of a photo. */
const variantsOf = (row) => JSON.parse(value(row, "variants") ?? "[]");
let mode = "slider";
const jpeg = (base64) => `data:image/jpeg;base64,${base64}`;

/** A slider between two pictures, told to assistive technology as one. */
function slider(label, first, second) {
  const element = h("img-comparison-slider", {
    role: "slider",
    "aria-label": label,
    "aria-valuemin": 0,
    "aria-valuemax": 100,
    "aria-valuenow": 50,
    "aria-valuetext": "50 % before",
    tabindex: 0,
  });
  for (const [slot, small, file, width] of [
    ["first", ...first],
    ["second", ...second],
  ]) {
    const image = h("img", {alt: "", draggable: false, className: slot, slot});
    if (file) {
      image.sizes = "(max-width: 760px) 94vw, 40vw";
      image.srcset = `${small} 256w, ${file} ${Math.max(width ?? 0, 257)}w`;
      image.addEventListener("error", () => image.removeAttribute("srcset"), {once: true});
    }
    image.src = small;
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
  if (!["coloured", "kept"].includes(value(row, "status"))) {
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
      const known = ["format", "output", "width"].map((name) => [name, value(row, name)]);
      box.append(beforeAndAfter({path: path(row), ...Object.fromEntries(known)}, found, large));
    } else if (as === "variants") {
      const others = variantsOf(row);
      if (!others.length) none("Not made: colorize with --variants 3.");
      else box.append(sideBySide(row, found, others));
    } else if (as === "chroma") {
      box.classList.add("chroma");
      box.append(h("img", {src: jpeg(found.after), alt: `Chroma of ${label}`}));
    } else if (found[as])
      box.append(h("img", {src: jpeg(found[as]), alt: `${MODES[as]} of ${label}`}));
    else none("Not recorded: colorize with --uncertainty.");
    if (found && as !== "segments" && as !== "uncertainty") box.append(badge());
  });
  return box;
}

/** A slider of a photo; large: of the files themselves, where they lie beside and a browser can show them. */
function beforeAndAfter(photo, found, large) {
  const files = large && SHOWN_BY_BROWSERS.has(photo.format) && run.photos_at && run.outputs_at;
  return slider(
    `Before and after: ${visible(photo.path)}`,
    [jpeg(found.before), files && urlOf(run.photos_at, photo.path), photo.width],
    [jpeg(found.after), files && urlOf(run.outputs_at, photo.output), photo.width],
  );
}

/** The photo's own colours and its variants beside each other, each with its palette's code. */
function sideBySide(row, found, others) {
  const own = ["its own", found.after, value(row, "output"), value(row, "palette") ?? "mean"];
  const all = [own, ...others.map(([name, code], k) => [`v${k + 1}`, found[`v${k + 1}`], name, code])];
  return h(
    "div",
    {className: "side-by-side"},
    all.map(([title, small, name, code]) =>
      h(
        "figure",
        null,
        h(
          "a",
          {href: urlOf(run.outputs_at, name), target: "_blank", rel: "noopener"},
          h("img", {src: jpeg(small), alt: `${title} of ${visible(path(row))}`}),
        ),
        h("figcaption", null, `${title} `, h("span", {className: "hash"}, code)),
      ),
    ),
  );
}

/** A photo large, with a choice of what is shown. */
function viewer(row) {
  const box = h("div");
  const choice = h("div", {role: "group", "aria-label": "Show", className: "choice"});
  const show = (as) => {
    box.replaceChildren(picture(row, {large: true, as}));
    for (const button of choice.children)
      button.setAttribute("aria-pressed", button.dataset.mode === as);
  };
  choice.append(
    ...Object.entries(MODES).map(([name, title]) =>
      h("button", {type: "button", "data-mode": name, onclick: () => show(name)}, title),
    ),
  );
  show("slider");
  return h("div", {className: "viewer"}, box, choice);
}

/** An element with a category's colour behind it. */
function inColour(element, name) {
  element.style.background = run.colours[name];
  return element;
}

function mix(row) {
  if (dominantOf(row) < 0) return null;
  return h(
    "div",
    {className: "mix", "aria-hidden": "true"},
    run.categories.map((name) => {
      const part = inColour(h("span"), name);
      part.style.width = `${100 * (shareOf(row, name) ?? 0)}%`;
      return part;
    }),
  );
}
const mixText = (row) =>
  run.categories
    .map((name) => [name, shareOf(row, name)])
    .filter(([, share]) => share >= 0.01)
    .sort((a, b) => b[1] - a[1])
    .map(([name, share]) => `${name} ${Math.round(100 * share)} %`)
    .join(" · ");
