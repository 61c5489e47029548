// The table of requests: what runs, then what ended last. Rows stay where they are while the
// reader points at one or stands in the table with the keyboard; figures in them go on.

import { element, mark, say } from "./elements.js";
import { PEACEFUL, REASONS, ago, count, duration, outcome, share } from "./words.js";

const ROWS_MAX = 14;
const ROWS_MAX_NARROW = 8;
const narrow = matchMedia("(max-width: 640px)");

const PHASES = { waiting: "in line", prefill: "prefill", decode: "streaming" };

export class Requests {
  constructor(table, empty, note, choose) {
    this.body = table.tBodies[0];
    this.empty = empty;
    this.note = note;
    this.idle = note.textContent;
    this.choose = choose;
    this.rows = new Map();
    this.body.addEventListener("keydown", (event) => this.step(event));
  }

  /** Whether the reader holds the table still. */
  get isHeld() {
    return this.body.matches(":hover") || this.body.contains(document.activeElement);
  }

  show(requests) {
    const byId = new Map(requests.map((each) => [each.request_id, each]));
    const held = this.isHeld ? [...this.rows.keys()].filter((id) => byId.has(id)) : [];
    const rows = narrow.matches ? ROWS_MAX_NARROW : ROWS_MAX;
    const wanted = held.length > 0 ? held : requests.slice(0, rows).map((each) => each.request_id);
    const unseen = held.length > 0 ? requests.findIndex((each) => this.rows.has(each.request_id)) : 0;
    say(this.note, unseen > 0 ? `Held still while you look; ${unseen} newer.` : this.idle);
    this.empty.hidden = requests.length > 0;
    for (const [id, row] of this.rows) {
      if (!wanted.includes(id)) {
        row.root.remove();
        this.rows.delete(id);
      }
    }
    wanted.forEach((id, place) => {
      const row = this.rows.get(id) ?? new Row(byId.get(id), this.choose);
      this.rows.set(id, row);
      row.show(byId.get(id));
      if (this.body.children[place] !== row.root) this.body.insertBefore(row.root, this.body.children[place] ?? null);
    });
    this.rows = new Map(wanted.map((id) => [id, this.rows.get(id)]));
  }

  step(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const buttons = [...this.body.querySelectorAll("button")];
    const next = buttons.indexOf(document.activeElement) + by;
    buttons[Math.max(0, Math.min(buttons.length - 1, next))]?.focus();
  }
}

class Row {
  constructor(request, choose) {
    const id = request.request_id;
    const name = element("button", { type: "button", title: id }, id);
    const who = request.tenant ? [element("span", { class: "quiet tenant", title: "tenant" }, request.tenant)] : [];
    const kind = element("span", { class: "sr" }, request.class);
    this.cells = ["is", "on", "why", "prompt", "found", "first", "output", "pace"].map((which) => {
      const numbers = ["prompt", "found", "first", "output", "pace"].includes(which);
      return element("td", { class: numbers ? `n ${which}` : which });
    });
    this.root = element(
      "tr", {},
      element("th", { scope: "row" }, element("div", {}, mark(request.class), kind, name, ...who)),
      ...this.cells,
    );
    this.root.addEventListener("click", () => choose(id));
  }

  show(request) {
    const [is, on, why, prompt, found, first, output, pace] = this.cells;
    this.root.dataset.phase = request.phase;
    this.root.dataset.bad = request.outcome !== null && !PEACEFUL.includes(request.outcome);
    say(is, request.phase === "ended" ? `${outcome(request.outcome)}, ${ago(request.ended_ms)}` : PHASES[request.phase]);
    say(on, request.replica ?? "–");
    say(why, REASONS[request.reason] ?? request.reason ?? "waits for room");
    if (request.reason === null && request.phase === "ended") say(why, "–");
    say(prompt, count(request.prompt_tokens));
    say(found, share(request.hit_tokens, request.ttft_ms === null ? 0 : request.prompt_tokens));
    say(first, request.ttft_ms === null && request.phase !== "ended" ? `${duration(request.age_ms)} …` : duration(request.ttft_ms));
    say(output, count(request.completion_tokens));
    say(pace, duration(request.tpot_ms));
  }
}
