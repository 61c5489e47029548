// The page: one state a second, shown by its parts. It draws what it was told last and says how
// old that is; it keeps nothing, and sends nothing but questions.

import { Chart } from "./chart.js";
import { say } from "./elements.js";
import { Memory } from "./memory.js";
import { Moves } from "./moves.js";
import { Refused, follow, keep, wantsKey } from "./poll.js";
import { Requests } from "./requests.js";
import { Tiles } from "./tiles.js";
import { Why } from "./why.js";

const STALE_MS = 3_500; // three questions without an answer

const $ = (id) => document.getElementById(id);

const why = new Why($("why"), (id) => told.requests.find((each) => each.request_id === id));
const memory = new Memory($("replicas"), $("memory-note"));
const tiles = new Tiles($("tiles"));
const charts = [new Chart($("ttft"), "ttft"), new Chart($("tpot"), "tpot")];
const requests = new Requests($("requests"), $("no-requests"), $("requests-note"), (id) => why.open(id));
const moves = new Moves($("moves"), $("no-moves"), (name) => memory.place(name));

let heardAt = null;
let told = null;

function heard(state) {
  heardAt = Date.now();
  told = state;
  $("key").hidden = true;
  $("main").hidden = false;
  say($("model"), state.model === null ? "no model yet" : `serving ${state.model.name}`);
  tiles.show(state);
  memory.show(state.replicas, state.model?.block_size ?? 0);
  for (const chart of charts) chart.show(state.pace);
  requests.show(state.requests);
  moves.show(state.moves);
  news();
}

function failed(error) {
  if (wantsKey(error)) {
    $("key").hidden = false;
    $("main").hidden = true;
    say($("key-why"), error.message);
    report("bad", "a key is needed");
    return;
  }
  news(error instanceof Refused ? error.message : undefined);
}

/** How much of this to believe. */
function news(trouble) {
  const age = heardAt === null ? null : Date.now() - heardAt;
  document.body.dataset.stale = age !== null && age > STALE_MS;
  if (age === null) return report("waiting", trouble ?? "waiting for the gateway");
  if (age > STALE_MS) {
    const seconds = Math.round(age / 1000);
    return report("bad", `no news for ${seconds} s: all below is old`);
  }
  const silent = told.replicas.filter((each) => each.state === "silent").length;
  if (silent > 0) return report("warn", silent === 1 ? "1 replica is silent" : `${silent} replicas are silent`);
  if (!told.is_ready) return report("warn", "no replica takes work");
  return report("good", "live");
}

function report(state, words) {
  $("news").dataset.state = state;
  say($("news").querySelector("span"), words);
}

const again = follow("state", heard, failed);
setInterval(() => heardAt !== null && news(), 1_000);

$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  keep($("key-field").value.trim());
  $("key-field").value = "";
  again();
});
