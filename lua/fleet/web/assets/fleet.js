// SPDX-License-Identifier: MIT
// Shows the nodes as they are now. What the server sends is put into the page as text only.

const body = document.getElementById("nodes");

function add(line, kind, text, detail, detailClass) {
  const cell = document.createElement(kind);
  cell.textContent = text;
  if (detail) {
    const more = document.createElement("span");
    more.className = detailClass;
    more.textContent = detail;
    cell.append(more);
  }
  line.append(cell);
  return cell;
}

function rowOf(node) {
  const line = document.createElement("tr");
  line.className = node.class;
  add(line, "th", node.name, node.address, "hint").scope = "row";
  add(line, "td", node.state, node.error, "fault");
  add(line, "td", node.release);
  add(line, "td", node.zone);
  for (const name of ["workers", "running", "queued", "rtt"]) {
    add(line, "td", node[name]).className = "number";
  }
  return line;
}

const events = new EventSource("/fleet/events");
events.addEventListener("nodes", (event) => {
  const news = JSON.parse(event.data);
  body.replaceChildren(...news.rows.map(rowOf));
  document.getElementById("plot").setAttribute("points", news.points);
  document.getElementById("events").replaceChildren(...news.events.map((words) => {
    const line = document.createElement("li");
    line.textContent = words;
    return line;
  }));
  for (const [id, words] of [["state", news.words], ["problem", news.problem],
    ["plot-words", news.plot_words]]) {
    const line = document.getElementById(id);
    if (line.textContent !== words) line.textContent = words; // it is read aloud
  }
});
addEventListener("pagehide", () => events.close());
