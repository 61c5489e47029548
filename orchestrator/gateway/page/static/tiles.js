// The few figures that say at a glance whether all is well.

import { element, mark, say } from "./elements.js";
import { WORKLOADS, count, duration, share } from "./words.js";

const TILES = [
  ["streams", "Streams"],
  ["ttft", "First token"],
  ["tpot", "Per token"],
  ["speed", "Output"],
  ["room", "Room"],
  ["found", "Found in cache"],
];

export class Tiles {
  constructor(list) {
    this.parts = Object.fromEntries(TILES.map(([name, label]) => {
      const figure = element("strong", {}, "–");
      const under = element("span", { class: "quiet" });
      list.append(element("div", { class: "card tile" }, element("dt", {}, label), element("dd", {}, figure, under)));
      return [name, { figure, under }];
    }));
    this.last = null;
  }

  show(state) {
    const { replicas, requests } = state;
    const sum = (read) => replicas.reduce((total, each) => total + read(each), 0);
    const line = WORKLOADS.reduce((total, each) => total + (state.waiting[each] ?? 0), 0);
    this.put("streams", count(state.in_flight), line > 0 ? `${line} in line for room` : "nobody in line");

    const total = sum((each) => each.blocks.total);
    const usable = sum((each) => (each.state === "open" ? each.blocks.free + each.blocks.cached - each.blocks.promised : 0));
    const tokens = Math.max(0, usable) * (state.model?.block_size ?? 0);
    this.put("room", share(Math.max(0, usable), total), `for ${count(tokens)} tokens`);

    for (const name of ["ttft", "tpot"]) this.pace(name, state.pace.now[name]);

    const started = requests.filter((each) => each.ttft_ms !== null);
    const hits = started.reduce((all, each) => all + each.hit_tokens, 0);
    const prompts = started.reduce((all, each) => all + each.prompt_tokens, 0);
    this.put("found", share(hits, prompts), started.length > 0 ? `of the last ${started.length} prompts` : "no prompt yet");

    this.speed(state.at_ms, sum((each) => each.decode_tokens), replicas.length);
  }

  /** Of the workload that matters most among those there are; the others stand below it. */
  pace(name, now) {
    const there = WORKLOADS.filter((each) => now[each] !== undefined);
    const [first, ...others] = there;
    if (first === undefined) return this.put(name, "–", "nothing in the last minute");
    const { figure, under } = this.parts[name];
    figure.replaceChildren(mark(first), duration(now[first]));
    under.replaceChildren(...others.flatMap((each) => [mark(each), duration(now[each])]));
    if (others.length === 0) say(under, `${first}, median of a minute`);
    figure.parentElement.title = there.map((each) => `${each} ${duration(now[each])}`).join(", ");
    return undefined;
  }

  /** Tokens a second, between two looks. A replica that left or came spoils one of them. */
  speed(at, tokens, replicas) {
    const last = this.last;
    this.last = { at, tokens, replicas };
    if (last === null || last.replicas !== replicas || at <= last.at || tokens < last.tokens) return;
    const now = ((tokens - last.tokens) * 1000) / (at - last.at);
    this.smooth = this.smooth === undefined ? now : 0.5 * now + 0.5 * this.smooth;
    this.put("speed", `${count(this.smooth)}/s`, "tokens, all replicas");
  }

  put(name, figure, under) {
    say(this.parts[name].figure, figure);
    say(this.parts[name].under, under);
  }
}
