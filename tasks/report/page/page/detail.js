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
async function openDetail(row) {
  await needed([row]);
  $("detail").replaceChildren(
    h(
      "header",
      null,
      h("h2", {id: "detail-title"}, visible(path(row))),
      h("button", {type: "button", onclick: () => $("detail").close()}, "Close"),
    ),
    viewer(row),
    factsOf(row),
  );
  $("detail").showModal();
}
