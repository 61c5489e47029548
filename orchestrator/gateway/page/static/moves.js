// Streams that changed replica: a list, and a square that flies from card to card.

import { element, say } from "./elements.js";
import { ago } from "./words.js";

const SHOWN_MAX = 8;
const FLIGHT_MS = 1_100;
const FLIGHTS_MAX = 8; // at once; a drain moves more than an eye can follow
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const ENDS = {
  moved: "on its way",
  adopted: "goes on there",
  adoption_failed: "was computed again",
  handed_back: "handed back",
};

export class Moves {
  constructor(list, empty, place) {
    this.list = list;
    this.empty = empty;
    this.place = place;
    this.known = null; // ids that were seen; at first what happened before is no news
  }

  show(moves) {
    const shown = moves.slice(0, SHOWN_MAX);
    this.empty.hidden = shown.length > 0;
    const rows = shown.map((move) => this.row(move));
    this.list.replaceChildren(...rows);
    const fresh = this.known === null ? [] : moves.filter((move) => !this.known.has(move.id));
    this.known = new Set(moves.map((move) => move.id));
    fresh.slice(0, FLIGHTS_MAX).forEach((move, number) => this.fly(move, number * 120));
  }

  row(move) {
    const when = element("time", { class: "quiet" });
    say(when, ago(move.age_ms));
    return element(
      "li", { "data-end": move.end },
      element("span", { class: "way" }, move.source ?? "?", element("i", { "aria-label": "to" }, "→"), move.target ?? "gateway"),
      when,
      element("span", { class: "quiet id", title: move.request_id }, move.request_id),
      element("span", { class: "quiet" }, ENDS[move.end] ?? move.end),
    );
  }

  fly(move, delay) {
    const from = this.place(move.source);
    const to = this.place(move.target);
    if (calm.matches || !from || !to) return;
    const square = element("i", { class: "flight", "aria-hidden": "true" });
    document.body.append(square);
    const middle = (box) => [box.left + box.width / 2 + scrollX, box.top + box.height / 2 + scrollY];
    const [[x, y], [u, v]] = [middle(from), middle(to)];
    const rise = Math.min(90, 20 + Math.hypot(u - x, v - y) / 6);
    const at = (a, b, grown) => `translate(${a}px, ${b}px) scale(${grown})`;
    const frames = [
      { transform: at(x, y, 0.4), opacity: 0 },
      { transform: at(x, y, 1), opacity: 1, offset: 0.15 },
      { transform: at((x + u) / 2, (y + v) / 2 - rise, 1.25), opacity: 1, offset: 0.55 },
      { transform: at(u, v, 1), opacity: 1, offset: 0.9 },
      { transform: at(u, v, 0.4), opacity: 0 },
    ];
    const flight = square.animate(frames, { duration: FLIGHT_MS, delay, easing: "ease-in-out", fill: "both" });
    flight.finished.finally(() => square.remove());
  }
}
