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

const HAPPENINGS = {
  refused: (event) => `${event.replica} refused it: ${event.detail}`,
  lost: (event) => `${event.replica} was lost (${event.detail})`,
  moved: (event) => `moved from ${event.replica} to ${event.detail}`,
  handed_back: (event) => `${event.replica} handed it back`,
  adopted: (event) => `went on at ${event.replica}`,
  adoption_failed: (event) => `was not there at ${event.replica}: ${event.detail}`,
  taken_over: () => "taken over from another gateway",
  not_found: () => "found nowhere: computed again",
};

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
      const told = await ask(`../v1/decisions/${encodeURIComponent(id)}`);
      if (id !== this.request?.request_id) return;
      this.request = this.row(id) ?? this.request;
      this.show(told, this.request);
      if (this.request.phase !== "ended") this.timer = setTimeout(() => this.look(), AGAIN_MS);
    } catch (error) {
      if (id !== this.request?.request_id) return;
      const sentence = error instanceof Refused ? error.message : "The gateway does not answer.";
      this.body.replaceChildren(element("p", { class: "bad" }, sentence));
    }
  }

  show(told, request) {
    const placed = told.events.filter((event) => event.event === "placed");
    const parts = [facts(request), time(request, placed[0]), story(told, request)];
    const choice = placed.findLast((event) => event.candidates.length > 0);
    if (choice) parts.push(places(choice));
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

/** What happened, in order. */
function story(told, request) {
  const list = element("ol", { class: "story" });
  const add = (ms, words, kind) => {
    list.append(element("li", { "data-kind": kind }, element("time", {}, duration(ms)), element("span", {}, words)));
  };
  const lines = told.events.map((event) => [event.at_ms, sentence(event), event.event]);
  if (request.ttft_ms !== null) lines.push([request.ttft_ms, "its first token went out", "first"]);
  if (request.ended_ms !== null) lines.push([request.age_ms - request.ended_ms, outcome(request.outcome), "end"]);
  lines.sort((one, other) => one[0] - other[0]);
  add(0, "arrived", "arrived");
  for (const line of lines) add(...line);
  if (told.events_left_out > 0) add(null, `and ${told.events_left_out} more`, "more");
  return [element("h3", {}, "What happened"), list];
}

function sentence(event) {
  if (event.event === "placed") return `given to ${event.replica}: ${REASONS[event.reason] ?? event.reason}`;
  return HAPPENINGS[event.event]?.(event) ?? `${event.event} ${event.replica ?? ""} ${event.detail ?? ""}`;
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
    element("p", { class: "quiet" }, "Seconds that it was expected to take from the whole cluster, at each replica."),
    legend,
    element("ol", { class: "places" }, ...rows),
  ];
}
