// Every replica's pool as a field of squares, filled from the left: shared, private, promised,
// cached, free. A square stands for as many blocks as make the field small enough to read; what
// there is any of has at least one. Squares change slowly, unless the reader asked for calm.

import { element, say } from "./elements.js";
import { count, duration } from "./words.js";

const ROWS = 8;
const CELLS_MAX = 40 * ROWS;
const PITCH_MAX = 14;
const FADE_MS = 450;
const ORDER = ["shared", "private", "promised", "cached", "free"];
const RUNS = [1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 40, 50, 64, 80, 100];

const STATES = { open: "open", leaving: "leaving", silent: "silent" };
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Blocks that one square stands for. */
export function runOf(total) {
  for (let scale = 1; ; scale *= 100) {
    const run = RUNS.find((each) => total / (each * scale) <= CELLS_MAX);
    if (run !== undefined) return run * scale;
  }
}

/** The state of each square. Promises are of blocks that are free, or else cached. */
export function squares(blocks, run) {
  const cells = Math.ceil(blocks.total / run);
  const fromFree = Math.min(blocks.promised, blocks.free);
  const fromCached = Math.min(blocks.promised - fromFree, blocks.cached);
  const amounts = {
    shared: blocks.shared,
    private: blocks.private,
    promised: fromFree + fromCached,
    cached: blocks.cached - fromCached,
    free: blocks.free - fromFree,
  };
  const field = [];
  let before = 0;
  for (const state of ORDER) {
    before += amounts[state];
    let stop = state === "free" ? cells : Math.round((before / blocks.total) * cells);
    if (amounts[state] > 0) stop = Math.max(stop, field.length + 1);
    while (field.length < Math.min(stop, cells)) field.push(state);
  }
  return field;
}

/** The section with a card for each replica. */
export class Memory {
  constructor(section, note) {
    this.section = section;
    this.note = note;
    this.cards = new Map();
    new ResizeObserver(() => this.redraw()).observe(section);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  show(replicas, blockSize) {
    const names = replicas.map((each) => each.replica);
    for (const [name, card] of this.cards) {
      if (!names.includes(name)) {
        card.root.remove();
        this.cards.delete(name);
      }
    }
    replicas.forEach((replica, place) => {
      if (!this.cards.has(replica.replica)) this.cards.set(replica.replica, new Card(replica.replica));
      const card = this.cards.get(replica.replica);
      if (this.section.children[place] !== card.root) {
        this.section.insertBefore(card.root, this.section.children[place] ?? null);
      }
      card.show(replica);
    });
    const runs = [...new Set(replicas.map((each) => runOf(each.blocks.total)))];
    const square = runs.length === 1 ? `A square is ${runs[0] === 1 ? "one block" : `${runs[0]} blocks`}` : "Squares are runs of blocks";
    say(this.note, replicas.length === 0 ? "No replica has joined yet." : `${square}; a block holds ${blockSize} tokens.`);
  }

  redraw() {
    for (const card of this.cards.values()) card.draw();
  }

  /** Where a replica's card is, for what flies between two. */
  place(name) {
    return this.cards.get(name)?.root.querySelector("canvas").getBoundingClientRect();
  }
}

class Card {
  constructor(name) {
    this.from = [];
    this.to = [];
    this.began = 0;
    this.canvas = element("canvas", { role: "img" });
    this.pill = element("span", { class: "pill" });
    this.counts = element("dl", { class: "counts" });
    this.work = element("p", { class: "quiet work" });
    this.total = element("span", { class: "quiet" });
    this.root = element(
      "article", { class: "card replica" },
      element("header", {}, element("h3", { title: name }, name), this.pill, this.total),
      this.canvas, this.counts, this.work,
    );
    this.figures = Object.fromEntries(ORDER.map((state) => {
      const figure = element("dd");
      this.counts.append(element("div", {}, element("dt", {}, state), figure));
      return [state, figure];
    }));
  }

  show(replica) {
    const { blocks } = replica;
    this.root.dataset.state = replica.state;
    say(this.pill, STATES[replica.state] ?? replica.state);
    say(this.total, `${count(blocks.total)} blocks`);
    for (const state of ORDER) say(this.figures[state], count(blocks[state]));
    const coming = replica.promised > 0 ? `, ${replica.promised} on the way` : "";
    say(this.work, `${replica.running} running, ${replica.waiting} waiting${coming} · step ${duration(replica.step_ms)}`);
    this.canvas.setAttribute("aria-label", ORDER.map((state) => `${blocks[state]} ${state}`).join(", "));
    this.fadeTo(squares(blocks, runOf(blocks.total)));
  }

  fadeTo(field) {
    const same = field.length === this.to.length && field.every((state, at) => state === this.to[at]);
    if (same && this.drawn) return;
    this.from = this.to.length === field.length && !calm.matches ? this.to : field;
    this.to = field;
    this.began = performance.now();
    this.draw();
  }

  draw() {
    cancelAnimationFrame(this.frame);
    const width = this.canvas.parentElement?.clientWidth ? this.canvas.clientWidth : 0;
    if (width === 0 || this.to.length === 0) return;
    const columns = Math.ceil(this.to.length / ROWS);
    const pitch = Math.min(PITCH_MAX, width / columns);
    const height = Math.ceil(pitch * ROWS);
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.canvas.style.height = `${height}px`;
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    const ink = inks(this.canvas);
    const done = Math.min(1, (performance.now() - this.began) / FADE_MS);
    this.to.forEach((state, at) => {
      const x = Math.floor(at / ROWS) * pitch;
      const y = (at % ROWS) * pitch;
      if (state !== this.from[at] && done < 1) {
        square(pen, ink, this.from[at], x, y, pitch, 1 - done);
        square(pen, ink, state, x, y, pitch, done);
      } else {
        square(pen, ink, state, x, y, pitch, 1);
      }
    });
    this.drawn = true;
    if (done < 1) this.frame = requestAnimationFrame(() => this.draw());
  }
}

function inks(canvas) {
  const style = getComputedStyle(canvas);
  return Object.fromEntries(
    [...ORDER, "dot"].map((name) => [name, style.getPropertyValue(`--block-${name}`).trim()]),
  );
}

/** Told apart by shape as well: shared has a dot, promised and free are hollow, promised is thicker. */
function square(pen, ink, state, x, y, pitch, alpha) {
  const side = pitch - Math.max(1, pitch * 0.18);
  pen.globalAlpha = alpha;
  pen.beginPath();
  if (state === "free" || state === "promised") {
    const line = state === "free" ? 1 : 1.75;
    pen.roundRect(x + line / 2, y + line / 2, side - line, side - line, side * 0.2);
    pen.strokeStyle = ink[state];
    pen.lineWidth = line;
    pen.stroke();
    return;
  }
  pen.roundRect(x, y, side, side, side * 0.2);
  pen.fillStyle = ink[state];
  pen.fill();
  if (state === "shared") {
    pen.beginPath();
    pen.arc(x + side / 2, y + side / 2, Math.max(1, side * 0.19), 0, 2 * Math.PI);
    pen.fillStyle = ink.dot;
    pen.fill();
  }
}
