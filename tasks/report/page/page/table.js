/* The table: only the rows near the window exist. */
"use strict";

const ROW = 40,
  OVERSCAN = 40;
let HEADS = [
  ["status", "Status", {width: 104}],
  ["path", "Path", {}],
  ["reason", "Reason", {width: 152, wide: true}],
  ["pixels", "Size", {width: 108, wide: true, number: true}],
  ["mix", "Category mix", {width: 130, wide: true}],
  ["colourfulness", "Colour­fulness", {width: 96, wide: true, number: true, digits: 1}],
  ["uncertainty", "Uncer­tainty", {width: 88, number: true, digits: 2}],
  ["max_dL", "max ΔL*", {width: 80, wide: true, number: true, digits: 2}],
  ["seconds", "Seconds", {width: 84, wide: true, number: true, digits: 2}],
  ["sha256", "SHA-256", {width: 92, wide: true, hash: true}],
  ["output_sha256", "Of output", {width: 92, wide: true, hash: true}],
];
const TITLES = {
  colourfulness: "Hasler and Süsstrunk 2003, of the small picture",
  uncertainty: "Mean over the photo, Lab units; recorded with --uncertainty",
  max_dL:
    "Largest change of lightness of a pixel before encoding; of photos over half a megapixel, of some rows",
  seconds: "That the networks, colours and encoding took, without decoding",
  mix: "Mean weight of each category",
};
let first = -1,
  active = 0;

function drawHeads() {
  HEADS = HEADS.filter(([name]) => ["pixels", "mix"].includes(name) || photos.columns.includes(name));
  $("heads").replaceChildren(
    ...HEADS.map(([name, title, look]) => {
      const head = h(
        "th",
        {
          scope: "col",
          className: [look.wide ? "wide" : "", look.number ? "number" : ""].join(" "),
          title: TITLES[name] ?? "",
        },
        h("button", {type: "button", "data-sort": name, onclick: () => setOrder(name)}, title),
      );
      if (look.width) head.style.width = `${look.width}px`;
      return head;
    }),
  );
}
function drawTable(anew = false) {
  const box = $("scroller");
  const at = Math.max(0, Math.floor(box.scrollTop / ROW) - OVERSCAN);
  if (!anew && Math.abs(at - first) < OVERSCAN / 2 && at !== 0) return;
  if (!anew && at === first) return;
  first = at;
  const count = Math.ceil(box.clientHeight / ROW) + 2 * OVERSCAN;
  const rows = Array.from(found.subarray(at, at + count));
  const loading = needed(rows);
  const mine = found;
  loading?.then(() => {
    if (mine === found && at === first) drawTable(true);
  });
  const focused = document.activeElement?.closest?.("#rows tr") ? active : null;
  const gap = (height) => {
    const cellOf = h("td");
    cellOf.style.height = `${height}px`;
    return h("tr", {className: "gap", "aria-hidden": "true"}, cellOf);
  };
  $("rows").replaceChildren(
    gap(at * ROW),
    ...rows.map((row, k) => (isThere(row) ? drawRow(row, at + k) : drawWaiting(at + k))),
    gap(Math.max(0, found.length - at - rows.length) * ROW),
  );
  $("table").setAttribute("aria-rowcount", found.length + 1);
  for (const head of $("heads").children) {
    const isIt = head.firstChild.dataset.sort === order.by;
    if (isIt) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
    const title = HEADS.find(([name]) => name === head.firstChild.dataset.sort)[1];
    head.firstChild.textContent = title + (isIt ? (order.down ? " ▼" : " ▲") : "");
  }
  if (focused !== null) buttonOf(focused)?.focus({preventScroll: true});
  return loading;
}
/** A row whose page is on its way. */
function drawWaiting(index) {
  const cellOf = h("td", {colSpan: HEADS.length, className: "waiting-row"}, "…");
  return h("tr", {"aria-rowindex": index + 2, "data-index": index, "aria-busy": "true"}, cellOf);
}
/** Folder and name: where room is short, the folder is cut. */
function pathParts(text) {
  const at = text.lastIndexOf("/") + 1;
  const parts = [h("span", {className: "name"}, visible(text.slice(at)))];
  return at ? [h("span", {className: "folder"}, visible(text.slice(0, at))), ...parts] : parts;
}
function drawRow(row, index) {
  const line = h("tr", {"aria-rowindex": index + 2, "data-index": index});
  for (const [name, , look] of HEADS) {
    let content = value(row, name);
    if (name === "status") content = pill(content);
    else if (name === "path") {
      content = h(
        "button",
        {
          type: "button",
          className: "link",
          tabindex: index === active ? 0 : -1,
          title: visible(content),
          onclick: () => {
            active = index;
            openDetail(row);
          },
        },
        pathParts(content),
      );
    } else if (name === "pixels")
      content =
        value(row, "width") === null ? "" : `${value(row, "width")} × ${value(row, "height")}`;
    else if (name === "mix")
      content =
        dominantOf(row) < 0
          ? ""
          : [h("span", {title: mixText(row)}, mixText(row).split(" · ")[0]), mix(row)];
    else if (look.hash)
      content = content ? h("span", {className: "hash", title: content}, content.slice(0, 8)) : "";
    else if (look.number) content = number(content, look.digits);
    else content = visible(content);
    line.append(
      h(
        "td",
        {
          className: [
            look.wide ? "wide" : "",
            look.number ? "number" : "",
            name === "mix" ? "mixed" : "",
          ]
            .join(" ")
            .trim(),
          title: name === "reason" ? visible(value(row, "detail")) : "",
        },
        content ?? "",
      ),
    );
  }
  return line;
}
const buttonOf = (index) => $("rows").querySelector(`tr[data-index="${index}"] button`);
async function goTo(index) {
  const box = $("scroller");
  const before = buttonOf(active);
  if (before) before.tabIndex = -1;
  active = Math.min(Math.max(0, index), found.length - 1);
  const top = active * ROW,
    head = $("heads").offsetHeight;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + ROW > box.scrollTop + box.clientHeight - head)
    box.scrollTop = top + ROW + head - box.clientHeight;
  const at = active;
  await drawTable();
  if (at !== active) return;
  const button = buttonOf(active);
  if (button) {
    button.tabIndex = 0;
    button.focus({preventScroll: true});
  }
}
function tableKeys(event) {
  const pageful = Math.max(1, Math.floor($("scroller").clientHeight / ROW) - 2);
  const to = {
    ArrowDown: active + 1,
    ArrowUp: active - 1,
    PageDown: active + pageful,
    PageUp: active - pageful,
    Home: 0,
    End: found.length - 1,
  }[event.key];
  if (to === undefined || !found.length || event.target.closest("thead")) return;
  event.preventDefault();
  goTo(event.target === $("scroller") && event.key.startsWith("Arrow") ? active : to);
}
