/* One photo with all that is known of it. */
"use strict";

function factsOf(row) {
  const file = value(row, "output");
  const said = ["description", "date", "artist", "copyright"].map((name) => [
    name[0].toUpperCase() + name.slice(1),
    visible(value(row, name)),
  ]);
  return list([
    [
      "Status",
      h(
        "span",
        null,
        pill(value(row, "status")),
        value(row, "reason") ? ` ${value(row, "reason")}` : "",
      ),
    ],
    ["Reason", visible(value(row, "detail"))],
    ["Decision", decisionOf(row)?.decision ? pill(decisionOf(row).decision) : ""],
    ["Note", visible(decisionOf(row)?.note)],
    ["To be coloured again", visible(value(row, "asked"))],
    ...said,
    ["Metadata lost", visible(value(row, "lost"))],
    ["Notes", visible(value(row, "notes"))],
    [
      "Palette",
      value(row, "palette") ? h("span", {className: "hash"}, value(row, "palette")) : "",
    ],
    [
      "Size",
      value(row, "width") === null
        ? ""
        : `${value(row, "width")} × ${value(row, "height")} pixels, ${size(value(row, "bytes"))}, ${value(row, "format")}`,
    ],
    ["Category mix", mixText(row)],
    ["Colourfulness", number(value(row, "colourfulness"), 1)],
    [
      "Uncertainty",
      value(row, "uncertainty") === null ? "" : `${number(value(row, "uncertainty"), 2)} Lab units`,
    ],
    ["max ΔL*", number(value(row, "max_dL"), 2)],
    ["Seconds", number(value(row, "seconds"), 2)],
    ["SHA-256", value(row, "sha256") ? h("span", {className: "hash"}, value(row, "sha256")) : ""],
    [
      "Original",
      run.photos_at
        ? h(
            "a",
            {href: urlOf(run.photos_at, path(row)), target: "_blank", rel: "noopener"},
            visible(path(row)),
          )
        : "",
    ],
    [
      "Output",
      file
        ? h(
            "a",
            {href: urlOf(run.outputs_at, file), target: "_blank", rel: "noopener"},
            visible(file),
          )
        : "",
    ],
    [
      "Variants",
      variantsOf(row).length
        ? h(
            "ul",
            {className: "variants"},
            variantsOf(row).map(([name, code]) =>
              h(
                "li",
                null,
                h(
                  "a",
                  {href: urlOf(run.outputs_at, name), target: "_blank", rel: "noopener"},
                  visible(name),
                ),
                " ",
                h("span", {className: "hash"}, code),
              ),
            ),
          )
        : "",
    ],
    [
      "Its SHA-256",
      value(row, "output_sha256")
        ? h("span", {className: "hash"}, value(row, "output_sha256"))
        : "",
    ],
    [
      "Uncertainty map",
      value(row, "uncertainty_map")
        ? h(
            "a",
            {
              href: urlOf(run.outputs_at, value(row, "uncertainty_map")),
              target: "_blank",
              rel: "noopener",
            },
            "open",
          )
        : "",
    ],
  ]);
}
/** One photo; next and previous are those of the table or grid, as filtered and sorted. */
async function openDetail(row) {
  await needed([row]);
  const place = found.indexOf(row);
  const buttons = () => [...$("detail").querySelectorAll(".actions button")];
  const focused = buttons().indexOf(document.activeElement);
  const to = (by, name, key) =>
    h(
      "button",
      {
        type: "button",
        disabled: place < 0 || found[place + by] === undefined,
        "aria-keyshortcuts": key,
        "data-by": by,
        onclick: () => openDetail(found[place + by]),
      },
      name,
    );
  $("detail").replaceChildren(
    h(
      "header",
      null,
      h("h2", {id: "detail-title"}, visible(path(row))),
      h(
        "div",
        {className: "actions"},
        to(-1, "Previous", "ArrowLeft"),
        to(1, "Next", "ArrowRight"),
        h("button", {type: "button", onclick: () => $("detail").close()}, "Close"),
      ),
    ),
    viewer(row),
    factsOf(row),
  );
  $("detail").onkeydown = (event) => {
    const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!by || event.target.closest("img-comparison-slider")) return;
    event.preventDefault();
    $("detail").querySelector(`[data-by="${by}"]`).click();
  };
  if (!$("detail").open) $("detail").showModal();
  else {
    // keys go on where they were: what had the focus is replaced
    const again = buttons();
    (again[focused]?.disabled === false ? again[focused] : again.at(-1)).focus();
  }
}
