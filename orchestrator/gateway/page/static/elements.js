// Elements and their text. Whatever a client or a replica calls itself is text here, never markup.

/** An element with attributes, and children that are elements or text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The same in SVG. */
export function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Changes text only where it differs, so that a selection in it survives. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Shape and line of each workload, which tell them apart without any colour. */
export function mark(workload) {
  const drawn = shape("svg", { class: `mark ${workload}`, viewBox: "-6 -6 12 12", "aria-hidden": "true" });
  drawn.append(point(workload, 0, 0, 4));
  return drawn;
}

export function point(workload, x, y, r) {
  if (workload === "agent") {
    const corners = [[0, -1.15], [1.1, 0.85], [-1.1, 0.85]];
    const points = corners.map(([dx, dy]) => `${x + dx * r},${y + dy * r}`).join(" ");
    return shape("polygon", { class: workload, points });
  }
  if (workload === "batch") {
    const side = 1.8 * r;
    return shape("rect", { class: workload, x: x - side / 2, y: y - side / 2, width: side, height: side });
  }
  return shape("circle", { class: workload, cx: x, cy: y, r });
}
