// One request, explained: its own words, where its time went, and what every other place would
// have cost. Asked for again while it runs and somebody looks.

import { element, mark, say } from "./elements.js";
import { Refused, ask } from "./poll.js";
import { REASONS, count, duration } from "./words.js";

const AGAIN_MS = 1_000;

export class Why {
  constructor(dialog) {
    this.dialog = dialog;
    this.title = dialog.querySelector("h2");
    this.body = dialog.querySelector("#why-body");
    dialog.querySelector("#why-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // beside it
    });
    dialog.addEventListener("close", () => {
      clearTimeout(this.timer);
      this.id = null;
    });
  }

  async open(id) {
    this.id = id;
    say(this.title, id);
    this.body.replaceChildren(element("p", { class: "quiet" }, "asking"));
    this.dialog.showModal();
    await this.look();
  }

  async look() {
    const id = this.id;
    try {
      const told = await ask(`../v1/requests/${encodeURIComponent(id)}/explain`);
      if (id !== this.id) return;
      this.show(told);
      if (told.outcome === null) this.timer = setTimeout(() => this.look(), AGAIN_MS);
    } catch (error) {
      const sentence = error instanceof Refused ? error.message : "The gateway does not answer.";
      if (id === this.id) this.body.replaceChildren(element("p", { class: "bad" }, sentence));
    }
  }

  show(told) {
    this.body.replaceChildren(element("pre", {}, JSON.stringify(told, null, 1)));
  }
}
