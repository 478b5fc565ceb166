/* What the page asks its server for. Every address begins with the token of the page's own. */

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export const address = (path) => new URL(path, document.baseURI).href;

async function answered(path, options) {
  let answer;
  try {
    answer = await fetch(address(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server is gone. Start `chromaflow review` again; what was confirmed is kept.");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, said.error ?? `The server said ${answer.status}.`);
}

export const get = async (path, signal) => (await answered(path, {signal})).json();

export const post = async (path, body, signal) => (await send(path, body, signal)).json();

export const send = (path, body, signal) =>
  answered(path, {
    method: "POST",
    headers: {"content-type": "application/json"},
    body: JSON.stringify(body),
    signal,
  });
