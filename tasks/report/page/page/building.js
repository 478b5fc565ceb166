/* Elements, numbers and words. All text is put in as text: nothing here writes markup. */
"use strict";

const $ = (id) => document.getElementById(id);

/** An element with properties, listeners (on…) and children; strings become text. */
function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.startsWith("aria") && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** The same of a drawing: attributes as they are. */
function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Control, bidirectional and other invisible characters as escapes, so that no name misleads. */
const visible = (text) =>
  String(text ?? "").replace(
    /[\p{C}\u2028\u2029]/gu,
    (c) => `\\u{${c.codePointAt(0).toString(16)}}`,
  );
const formats = [];
function number(value, digits = 0) {
  if (value === null || value === undefined) return "";
  formats[digits] ??= new Intl.NumberFormat("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return formats[digits].format(value);
}
const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (bytes >= 999.5 && at < units.length - 1) {
    bytes /= 1000;
    at += 1;
  }
  return `${number(bytes, at > 1 && bytes < 100 ? 1 : 0)} ${units[at]}`;
}
function duration(seconds) {
  if (seconds >= 5400) return `${number(seconds / 3600, 1)} h`;
  return seconds >= 90 ? `${number(seconds / 60, 1)} min` : `${number(seconds, 1)} s`;
}
/** When something was, in the reader's own time. */
function moment(text) {
  const when = new Date(text ?? NaN);
  if (Number.isNaN(when.getTime())) return visible(text);
  const shown = when.toLocaleString("en-GB", {dateStyle: "medium", timeStyle: "short"});
  return h("time", {dateTime: text, title: text}, shown);
}
const pill = (word) => h("span", {className: `pill ${word}`}, word);
const badge = () => h("strong", {className: "badge"}, "AI colorized");
const list = (pairs) =>
  h(
    "dl",
    {className: "list"},
    pairs
      .filter(([, value]) => value !== "" && value !== null && value !== undefined)
      .flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]),
  );
/** A path below a relative folder as a link that cannot leave the file system. */
const urlOf = (folder, path) => folder + path.split("/").map(urlPart).join("/");
/** A name's lone surrogates are bytes that are not UTF-8 (Python's surrogateescape). */
const urlPart = (name) =>
  name
    .split(/([\udc80-\udcff])/u)
    .map((text, i) => (i % 2 ? `%${(text.charCodeAt(0) - 0xdc00).toString(16)}` : encodeURIComponent(text)))
    .join("");

/** Text with what stands between backticks as code. */
function withCode(text) {
  return text.split("`").map((part, i) => (i % 2 ? h("code", null, part) : part));
}

function command(text) {
  const button = h(
    "button",
    {
      type: "button",
      "aria-label": `Copy: ${visible(text)}`,
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(text);
          button.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(code);
          button.textContent = "Selected";
        }
        setTimeout(() => {
          button.textContent = "Copy";
        }, 1500);
      },
    },
    "Copy",
  );
  const code = h("code", null, visible(text));
  return h("div", {className: "command"}, code, button);
}
