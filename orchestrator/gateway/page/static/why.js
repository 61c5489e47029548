// One request, explained: where its time went, what happened to it, and what every other place
// would have cost. Asked for again while it runs and somebody looks.

import { element, mark, say } from "./elements.js";
import { Refused, ask } from "./poll.js";
import { REASONS, count, duration, outcome, share } from "./words.js";

const AGAIN_MS = 1_000;

/** The terms of a place's cost, in the order in which they are drawn. */
const TERMS = [
  ["queue_s", "queue", "others first"],
  ["prefill_s", "prefill", "what it must compute"],
  ["room_s", "room", "until blocks come free"],
  ["pressure_s", "pressure", "a pool that runs full"],
];

export class Why {
  /** `row(id)` is the request in the newest state, if it is in there. */
  constructor(dialog, row) {
    this.dialog = dialog;
    this.row = row;
    this.title = dialog.querySelector("h2");
    this.body = dialog.querySelector("#why-body");
    dialog.querySelector("#why-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // beside it
    });
    dialog.addEventListener("close", () => {
      clearTimeout(this.timer);
      this.request = null;
    });
  }

  async open(id) {
    this.request = this.row(id);
    if (!this.request) return;
    say(this.title, id);
    this.body.replaceChildren(element("p", { class: "quiet" }, "asking"));
    this.dialog.showModal();
    await this.look();
  }

  async look() {
    const id = this.request.request_id;
    try {
      const name = encodeURIComponent(id);
      const [told, decided] = await Promise.all([
        ask(`../v1/requests/${name}/explain`),
        ask(`../v1/decisions/${name}`),
      ]);
      if (id !== this.request?.request_id) return;
      this.request = this.row(id) ?? this.request;
      this.show(told, decided, this.request);
      if (this.request.phase !== "ended") this.timer = setTimeout(() => this.look(), AGAIN_MS);
    } catch (error) {
      if (id !== this.request?.request_id) return;
      const sentence = error instanceof Refused ? error.message : "The gateway does not answer.";
      this.body.replaceChildren(element("p", { class: "bad" }, sentence));
    }
  }

  show(told, decided, request) {
    const placed = decided.events.filter((event) => event.event === "placed");
    const parts = [facts(request), time(request, placed[0]), story(told)];
    const choice = placed.findLast((event) => event.candidates.length > 0);
    if (choice) parts.push(places(choice));
    parts.push(line(told));
    this.body.replaceChildren(...parts.map((part) => element("section", {}, ...part)));
  }
}

function facts(request) {
  const told = [
    ["workload", element("span", { class: "with-mark" }, mark(request.class), request.class)],
    ["tenant", request.tenant || "–"],
    ["is", request.phase === "ended" ? outcome(request.outcome) : request.phase],
    ["on", request.replica ?? "–"],
    ["prompt", `${count(request.prompt_tokens)} tokens`],
    ["of it found", share(request.hit_tokens, request.prompt_tokens)],
    ["output", `${count(request.completion_tokens)} tokens`],
    ["first token", duration(request.ttft_ms)],
    ["per token", duration(request.tpot_ms)],
  ];
  const list = element("dl", { class: "facts" });
  for (const [name, value] of told) list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  return [list];
}

/** Where its time went, in proportion. */
function time(request, placed) {
  const end = request.ended_ms === null ? request.age_ms : request.age_ms - request.ended_ms;
  const first = request.ttft_ms ?? end;
  const place = Math.min(placed?.at_ms ?? first, first);
  const stretches = [
    ["line", "until it had a place", place],
    ["prefill", "until its first token", first - place],
    ["decode", "until its last", end - first],
  ];
  const bar = element("div", { class: "bar", "aria-hidden": "true" });
  const list = element("ul", { class: "legend stretches" });
  for (const [name, words, ms] of stretches) {
    const part = element("i", { class: `stretch ${name}` });
    part.style.flexGrow = Math.max(ms, 0);
    bar.append(part);
    list.append(element("li", {}, element("i", { class: `cell stretch ${name}` }), `${words} `, element("b", {}, duration(Math.max(0, ms)))));
  }
  return [element("h3", {}, "Where its time went"), bar, list];
}

/** The gateway's own sentences about it. */
function story(told) {
  return [element("h3", {}, "In words"), ...told.words.map((sentence) => element("p", { class: "said" }, sentence))];
}

/** Every moment and stretch of it, in order. */
function line(told) {
  const list = element("ol", { class: "story" });
  for (const entry of told.timeline) {
    const what = [element("b", {}, entry.what.replaceAll("_", " "))];
    if (entry.replica) what.push(` at ${entry.replica}`);
    if (entry.lasted_ms !== null) what.push(` for ${duration(entry.lasted_ms)}`);
    if (entry.words) what.push(element("span", { class: "quiet" }, ` ${(REASONS[entry.words] ?? entry.words).replaceAll("_", " ")}`));
    list.append(element("li", { "data-kind": entry.what }, element("time", {}, duration(entry.at_ms)), element("span", {}, ...what)));
  }
  return [element("h3", {}, "Moment by moment"), list];
}

/** Every place that there was, and the seconds that each was expected to take. */
function places(placed) {
  const most = Math.max(...placed.candidates.map((each) => each.total_s), 1e-9);
  const rows = placed.candidates.map((each) => {
    const bar = element("div", { class: "cost", "aria-hidden": "true" });
    for (const [term, name] of TERMS) {
      const part = element("i", { class: `term ${name}` });
      part.style.width = `${(100 * each[term]) / most}%`;
      bar.append(part);
    }
    const chosen = each.replica === placed.replica;
    const blocks = `${each.hit_blocks} of its blocks there`;
    return element(
      "li", { "data-chosen": chosen, title: TERMS.map(([term, name]) => `${name} ${duration(1000 * each[term])}`).join(", ") },
      element("span", { class: "place" }, each.replica, ...(chosen ? [element("b", {}, "chosen")] : [])),
      bar,
      element("span", { class: "n" }, duration(1000 * each.total_s)),
      element("span", { class: "quiet" }, blocks),
    );
  });
  const legend = element("ul", { class: "legend" });
  for (const [, name, words] of TERMS) legend.append(element("li", { title: words }, element("i", { class: `cell term ${name}` }), name));
  return [
    element("h3", {}, "Where it could have gone"),
    element("p", { class: "quiet" }, "What it was expected to cost the whole cluster in time, at each replica."),
    legend,
    element("ol", { class: "places" }, ...rows),
  ];
}
