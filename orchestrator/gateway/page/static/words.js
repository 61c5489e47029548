// Figures and reasons, as a person reads them.

export const WORKLOADS = ["interactive", "agent", "batch"];

/** 0.42 ms, 4.2 ms, 42 ms, 1.24 s, 12.4 s, 2 min. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_995) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 99_950) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.round(ms / 60_000)} min`;
}

/** 940, 4,096, 61.4 k, 1.2 M. */
export function count(number) {
  if (number === null || number === undefined) return "–";
  if (number < 10_000) return Math.round(number).toLocaleString("en");
  if (number < 999_500) return `${(number / 1000).toFixed(number < 99_950 ? 1 : 0)} k`;
  return `${(number / 1_000_000).toFixed(1)} M`;
}

export function share(part, whole) {
  return whole > 0 ? `${Math.round((100 * part) / whole)} %` : "–";
}

export function ago(ms) {
  return ms < 1_500 ? "now" : `${ms < 90_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`} ago`;
}

/** Why a replica was chosen. */
export const REASONS = {
  prefix_hit: "holds most of it",
  copy: "gets most of it copied",
  balance: "a shorter queue won",
  room: "longest hit was full",
  load: "least to do",
};

/** What is nobody's fault, or the client's own wish. */
export const PEACEFUL = ["ok", "client_gone", "cancelled"];

/** How a request that is over ended, in a word or two. */
export function outcome(code) {
  const known = { ok: "done", client_gone: "left", failed: "failed", cancelled: "cancelled" };
  return known[code] ?? String(code).replaceAll("_", " ");
}
