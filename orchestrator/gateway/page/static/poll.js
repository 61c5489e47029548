// Asks for the state once a second, one question at a time, while somebody looks.
//
// The key goes into a header and stays in this tab. A gateway that does not
// answer is asked less and less often, down to once in five seconds.

const PERIOD_MS = 1_000;
const PERIOD_MS_MAX = 5_000;
const TIMEOUT_MS = 5_000;
const KEY = "blockyard-key";

/** An answer that is not what was asked for. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function keep(key) {
  sessionStorage.setItem(KEY, key);
}

/** JSON from this gateway. Throws Refused, or TypeError and AbortError where nobody answers. */
export async function ask(path) {
  const key = sessionStorage.getItem(KEY);
  const response = await fetch(path, {
    headers: key === null ? {} : { authorization: `Bearer ${key}` },
    signal: AbortSignal.timeout(TIMEOUT_MS),
    cache: "no-store",
  });
  if (!response.ok) throw new Refused(response.status, await reason(response));
  return response.json();
}

async function reason(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return response.statusText;
  }
}

/** Whether a key would help. */
export function wantsKey(error) {
  return error instanceof Refused && (error.status === 401 || error.status === 403);
}

/** Calls `heard(state)` and `failed(error)`; a gateway that wants a key is asked again by the
 * function that is returned. */
export function follow(path, heard, failed) {
  let wait = PERIOD_MS;
  let timer = null;
  let asking = false;
  let isShut = false;

  async function look() {
    timer = null;
    if (document.hidden || asking) return;
    asking = true;
    try {
      heard(await ask(path));
      wait = PERIOD_MS;
      isShut = false;
    } catch (error) {
      isShut = wantsKey(error);
      wait = Math.min(PERIOD_MS_MAX, wait * 1.6);
      failed(error);
    } finally {
      asking = false;
    }
    if (!document.hidden && !isShut) timer = setTimeout(look, wait);
  }

  function again() {
    clearTimeout(timer);
    look();
  }

  document.addEventListener("visibilitychange", again);
  look();
  return again;
}
