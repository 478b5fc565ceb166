/* Elements and words. All text is put in as text: nothing here writes markup. */

export const $ = (id) => document.getElementById(id);

/** An element with properties, listeners (on…) and children; strings become text. */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Control, bidirectional and other invisible characters as escapes, so that no name misleads. */
export const visible = (text) =>
  String(text ?? "").replace(
    /[\p{C}\u2028\u2029]/gu,
    (c) => `\\u{${c.codePointAt(0).toString(16)}}`,
  );

const format = new Intl.NumberFormat("en", {maximumFractionDigits: 1});
export const number = (value) => (value === null || value === undefined ? "" : format.format(value));
export const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;

/** A line for everybody, read aloud too; it goes by itself. */
let fading = 0;
export function say(text, {grave = false} = {}) {
  $("said").textContent = text;
  $("said").className = grave ? "shown grave" : "shown";
  clearTimeout(fading);
  fading = setTimeout(() => $("said").classList.remove("shown"), grave ? 12_000 : 4_000);
}
