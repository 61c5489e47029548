// A duration over the last minutes, the workloads apart: the median as a line with a mark for every
// few seconds that had any, and a veil up to the 95th percentile. The scale is logarithmic and only
// grows or shrinks by whole steps, so that the picture stands still while the figures move.

import { element, mark, point, say, shape } from "./elements.js";
import { WORKLOADS, ago, duration } from "./words.js";

const HEIGHT = 210;
const EDGE = { top: 10, right: 12, bottom: 22, left: 56 };
const STEPS = [1, 3];
const GAP_BUCKETS = 3; // an idle stretch that a line still crosses

/** Ticks of one, three, ten ... milliseconds around what there is, two steps at least. */
export function scale(values) {
  const low = Math.min(...values, 30);
  const high = Math.max(...values, 100);
  const ticks = [];
  for (let decade = 0.01; decade < 1e7; decade *= 10) {
    for (const step of STEPS) ticks.push(Number((decade * step).toPrecision(1)));
  }
  const first = ticks.findLastIndex((tick) => tick <= low);
  const last = ticks.findIndex((tick) => tick >= high);
  return ticks.slice(Math.max(0, first), last + 1);
}

export class Chart {
  constructor(figure, name) {
    this.name = name;
    this.figure = figure;
    this.plot = figure.querySelector(".plot");
    this.legend = figure.querySelector(".legend");
    this.readings = Object.fromEntries(WORKLOADS.map((workload) => {
      const reading = element("span", { class: "reading" }, "–");
      this.legend.append(element("li", {}, mark(workload), `${workload} `, reading));
      return [workload, reading];
    }));
    this.cursor = null; // how many buckets ago the reader looks
    figure.addEventListener("keydown", (event) => this.step(event));
    figure.addEventListener("blur", () => this.look(null));
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => this.look(null));
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  show(pace) {
    this.pace = pace;
    this.draw();
  }

  // ---- reading

  step(event) {
    const moves = { ArrowLeft: 1, ArrowRight: -1 };
    if (!(event.key in moves) || !this.pace) return;
    event.preventDefault();
    const next = (this.cursor ?? -1) + moves[event.key];
    this.look(Math.max(0, Math.min(this.pace.buckets - 1, next)));
  }

  point(event) {
    if (!this.pace) return;
    const box = this.plot.getBoundingClientRect();
    const along = (event.clientX - box.left - EDGE.left) / (box.width - EDGE.left - EDGE.right);
    const buckets = this.pace.buckets;
    this.look(Math.max(0, Math.min(buckets - 1, Math.round((1 - along) * (buckets - 1)))));
  }

  look(cursor) {
    if (cursor === this.cursor) return;
    this.cursor = cursor;
    this.draw();
  }

  // ---- drawing

  draw() {
    const width = this.plot.clientWidth;
    if (!this.pace || width === 0) return;
    const series = this.pace[this.name];
    const all = WORKLOADS.flatMap((each) => (series[each] ?? []).flatMap(([, , low, high]) => [low, high]));
    const ticks = scale(all);
    const [least, most] = [Math.log(ticks[0]), Math.log(ticks.at(-1))];
    const inner = width - EDGE.left - EDGE.right;
    const space = {
      x: (bucket) => EDGE.left + inner * (1 - (this.pace.last - bucket) / (this.pace.buckets - 1)),
      y: (ms) => EDGE.top + (HEIGHT - EDGE.top - EDGE.bottom) * (1 - (Math.log(Math.max(ms, ticks[0])) - least) / (most - least)),
    };
    const drawn = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": this.summary() });
    drawn.append(...this.grid(ticks, space, width));
    for (const workload of [...WORKLOADS].reverse()) drawn.append(...this.lines(workload, series[workload] ?? [], space));
    if (this.cursor !== null) {
      const x = space.x(this.pace.last - this.cursor);
      drawn.append(shape("line", { class: "cursor", x1: x, x2: x, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }));
    }
    this.plot.replaceChildren(drawn);
    this.read(series);
  }

  grid(ticks, space, width) {
    const shapes = ticks.flatMap((tick) => [
      shape("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: space.y(tick), y2: space.y(tick) }),
      shape("text", { x: EDGE.left - 8, y: space.y(tick) + 4, "text-anchor": "end" }, tick < 10 ? `${tick} ms` : duration(tick).replace(/\.0+ /, " ")),
    ]);
    const minutes = (this.pace.bucket_ms * this.pace.buckets) / 60_000;
    for (let minute = 0; minute <= minutes; minute += 1) {
      const bucket = this.pace.last - (minute * 60_000) / this.pace.bucket_ms;
      if (bucket <= this.pace.last - this.pace.buckets) continue;
      const words = minute === 0 ? "now" : `−${minute} min`;
      const anchor = minute === 0 ? "end" : "middle";
      shapes.push(shape("text", { x: space.x(bucket), y: HEIGHT - 5, "text-anchor": anchor }, words));
    }
    return shapes;
  }

  lines(workload, series, space) {
    const shapes = [];
    for (const run of unbroken(series)) {
      const there = run.map(([bucket, , low]) => `${space.x(bucket)},${space.y(low)}`);
      const back = run.map(([bucket, , , high]) => `${space.x(bucket)},${space.y(high)}`).reverse();
      shapes.push(shape("polygon", { class: `veil ${workload}`, points: [...there, ...back].join(" ") }));
      shapes.push(shape("polyline", { class: `line ${workload}`, points: there.join(" ") }));
      for (const [bucket, , low] of run) shapes.push(point(workload, space.x(bucket), space.y(low), 2.6));
    }
    return shapes;
  }

  /** The legend's figures: of the moment under the cursor, or of the last minute. */
  read(series) {
    for (const workload of WORKLOADS) {
      const reading = this.readings[workload];
      if (this.cursor === null) {
        say(reading, duration(this.pace.now[this.name][workload]));
        continue;
      }
      const entry = (series[workload] ?? []).find(([bucket]) => bucket === this.pace.last - this.cursor);
      const when = ago(this.cursor * this.pace.bucket_ms);
      say(reading, entry ? `${duration(entry[2])} to ${duration(entry[3])}, ${when}` : `none, ${when}`);
    }
  }

  summary() {
    const now = this.pace.now[this.name];
    const words = WORKLOADS.filter((each) => now[each] !== undefined).map((each) => `${each} ${duration(now[each])}`);
    return words.length > 0 ? `Median of the last minute: ${words.join(", ")}` : "Nothing in the last minute";
  }
}

/** Stretches of a series with no long silence in them. */
function unbroken(series) {
  const runs = [];
  for (const entry of series) {
    const run = runs.at(-1);
    if (run && entry[0] - run.at(-1)[0] <= GAP_BUCKETS) run.push(entry);
    else runs.push([entry]);
  }
  return runs;
}
