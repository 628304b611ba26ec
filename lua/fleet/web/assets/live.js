// SPDX-License-Identifier: MIT
// Shows the rows of a run as they come. What the server sends is put into the page as text only.

const table = document.getElementById("rows");
const body = table.tBodies[0];
const most = Number(table.dataset.max);

const columns = Array.from(table.tHead.rows[0].cells, (heading) => (
  { ...heading.dataset, kind: heading.className }));

function rowOf(row) {
  const line = document.createElement("tr");
  line.className = row.failed ? "failed" : "ok";
  for (const { name, label, kind } of columns) {
    const cell = line.insertCell();
    const isFault = name === "result" && row.failed;
    cell.textContent = row[name];
    cell.dataset.label = isFault ? "Error" : label;
    cell.className = isFault ? "fault" : kind;
  }
  return line;
}

function showRows(rows) {
  const fresh = document.createDocumentFragment();
  for (const row of rows.slice(-most).reverse()) fresh.append(rowOf(row));
  body.prepend(fresh);
  while (body.rows.length > most) body.lastElementChild.remove();
}

function showFailures(lines) {
  const list = document.getElementById("failures");
  list.replaceChildren(...lines.map((words) => {
    const line = document.createElement("li");
    line.textContent = words;
    return line;
  }));
}

function follow() {
  const events = new EventSource(
    `/runs/${table.dataset.run}/events?after=${table.dataset.after}`);
  events.addEventListener("rows", (event) => {
    const news = JSON.parse(event.data);
    showRows(news.rows);
    showFailures(news.failures);
    document.getElementById("counts").textContent = news.counts;
    document.getElementById("progress").value = news.value;
    if (!news.live) {
      events.close();
      location.reload(); // for the words and the buttons of a run that has ended
    }
  });
  addEventListener("pagehide", () => events.close());
}

if (table.dataset.live === "yes") follow();
