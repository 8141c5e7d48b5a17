(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("leaderboard-data").textContent);
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // Rows of the leaderboard, with their texts looked up and their place in the data.
  const names = Object.keys(data.texts);
  const rows = data.rows.map(([codes, [value, low, high, seeds, pretrainings], differences, cells], index) => ({
    ...Object.fromEntries(names.map((name, i) => [name, data.texts[name][codes[i]]])),
    value, low, high, seeds, pretrainings, differences, cells, index,
    published: data.published[index] ?? "",
  }));
  for (const row of rows) [row.sign, row.saw] = [data.signs[row.contamination] ?? "", row.contamination.split(":")[0]];
  const fixed = (x, digits) => x.toFixed(digits);
  const digits = (x) => (Math.abs(x) < 2 ? 3 : 1);
  const valueText = (x) => (x === null ? "–" : fixed(x, digits(x)));
  const intervalText = (x, low, high) =>
    low === null || low === high ? "" : `[${fixed(low, digits(x))}, ${fixed(high, digits(x))}]`;
  const pText = (p) => (p === null ? "" : p < 0.001 ? "< .001" : fixed(p, 3));

  // Colours: as the system has them, or the other ones.
  const theme = document.getElementById("theme");
  const themes = ["", "dark", "light"];
  const store = { get: () => { try { return localStorage.getItem("theme") ?? ""; } catch { return ""; } },
    set: (name) => { try { localStorage.setItem("theme", name); } catch { /* a file may have no storage */ } } };
  const paint = (name) => {
    document.documentElement.dataset.theme = name;
    theme.setAttribute("aria-label", `Colours: ${name || "as the system has them"}`);
    theme.title = theme.getAttribute("aria-label");
    theme.textContent = { "": "◐", dark: "☾", light: "☀" }[name];
  };
  theme.addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length];
    paint(next);
    store.set(next);
  });
  paint(themes.includes(store.get()) ? store.get() : "");

  // Tables of a tab become sortable when the tab is first shown.
  const plain = { paging: false, searching: false, info: false, autoWidth: false, order: [],
    layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
    columnDefs: [{ targets: 0, orderSequence: ["asc", "desc", ""] }, { targets: "_all", orderSequence: ["desc", "asc", ""] }] };
  const ready = new Set();
  const prepare = (section) => {
    if (ready.has(section.id)) return;
    ready.add(section.id);
    if (section.id === "leaderboard") board();
    for (const table of section.querySelectorAll(".scroll > table")) new DataTable(table, plain);
  };

  // Tabs.
  const tabs = [...document.querySelectorAll("nav button")];
  const show = (key, focus) => {
    for (const tab of tabs) {
      const chosen = tab.dataset.target === key;
      const section = document.getElementById(tab.dataset.target);
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      section.hidden = !chosen;
      if (!chosen) continue;
      prepare(section);
      tab.scrollIntoView({ block: "nearest", inline: "nearest" });
      if (focus) tab.focus();
    }
  };
  const go = (key, focus) => { show(key, focus); history.replaceState(null, "", "#/" + key); };
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => go(tab.dataset.target));
    tab.addEventListener("keydown", (event) => {
      const last = tabs.length - 1;
      const next = { ArrowRight: i === last ? 0 : i + 1, ArrowLeft: i ? i - 1 : last, Home: 0, End: last }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      go(tabs[next].dataset.target, true);
    });
  });

  // The leaderboard: one row per method, setting, share of the labels and metric.
  const ranges = new Map();
  for (const row of rows) {
    const key = [row.task, row["data set"], row.metric].join("/");
    const range = ranges.get(key) ?? ranges.set(key, [Infinity, -Infinity]).get(key);
    for (const x of [row.value, row.low, row.high]) {
      if (x !== null) { range[0] = Math.min(range[0], x); range[1] = Math.max(range[1], x); }
    }
    row.range = range;
  }
  // Settings as they come, the best value of each on top.
  const places = new Map();
  for (const row of rows) {
    const key = ["task", "data set", "setting", "protocol", "metric", "labels"].map((name) => row[name]).join("/");
    row.place = places.get(key) ?? places.set(key, places.size).get(key);
    row.rank = row.value === null ? Infinity : data.smaller_is_better.includes(row.metric) ? row.value : -row.value;
  }
  const ranked = [...rows].sort((a, b) => a.place - b.place || a.rank - b.rank);
  const bar = (row) => {
    if (row.value === null || row.range[0] === row.range[1]) return "";
    const at = (x) => (3 + (114 * (x - row.range[0])) / (row.range[1] - row.range[0])).toFixed(1);
    const line = row.low === null ? "" : `<line x1="${at(row.low)}" x2="${at(row.high)}" y1="8" y2="8" stroke="currentColor" stroke-width="1.5"/>`;
    return `<svg class="bar" viewBox="0 0 120 16" aria-hidden="true">${line}<circle cx="${at(row.value)}" cy="8" r="3.2" fill="var(--accent)"/></svg>`;
  };
  const button = (row) => {
    const text = make(row.mark === "best" ? "strong" : "span", {}, valueText(row.value));
    const open = make("button", { type: "button", class: "open", "data-row": row.index }, text);
    for (const sign of [row.mark === "not worse" ? "†" : "", row.sign]) if (sign) open.append(make("sup", {}, sign));
    const interval = intervalText(row.value, row.low, row.high);
    if (interval) open.append(" ", make("span", { class: "interval" }, interval));
    return open.outerHTML;
  };
  const words = (name) => ({ title: name, data: name, className: "text", render: DataTable.render.text() });
  const board = () => {
    const filters = { task: "", "data set": "", metric: "", labels: "", protocol: "", setting: "", endpoint: "primary" };
    if (!rows.some((row) => row.endpoint === "primary")) filters.endpoint = "";
    const fits = (row, but) => Object.entries(filters).every(([name, text]) => name === but || !text || row[name] === text);
    const form = document.getElementById("filters");
    const table = new DataTable(document.getElementById("board").appendChild(make("table", { "aria-label": "Leaderboard" })), {
      data: ranked, autoWidth: false, order: [], pageLength: 25, lengthMenu: [25, 100, { label: "all", value: -1 }],
      layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: ["pageLength", "paging"] },
      language: { info: "_START_ to _END_ of _TOTAL_ rows", infoEmpty: "no rows", infoFiltered: "(of _MAX_)", lengthMenu: "_MENU_ a page" },
      columns: [
        words("method"),
        { title: "value [95 % interval]", data: "value", orderSequence: ["desc", "asc", ""], type: "num", searchable: false,
          render: (value, kind, row) => (kind === "display" ? button(row) : value ?? "") },
        { title: "interval, drawn", data: null, orderable: false, searchable: false, render: (_, kind, row) => (kind === "display" ? bar(row) : "") },
        ...["task", "data set", "labels", "metric", "setting", "endpoint", "protocol"].map(words),
        { title: "contamination", data: "saw", className: "text", render: DataTable.render.text() },
        { title: "seeds", data: "seeds", type: "num", searchable: false },
      ],
      createdRow: (element, row) => { if (!row.seeds || /^(chance|predict nothing|metadata only)$/.test(row.method)) element.classList.add("baseline"); },
    });
    table.search.fixed("filters", (_, row) => fits(row));
    const selects = {};
    const refresh = () => {
      for (const [name, select] of Object.entries(selects)) {
        const offered = [...new Set(rows.filter((row) => fits(row, name)).map((row) => row[name]))];
        select.replaceChildren(make("option", { value: "" }, "all"), ...offered.map((text) => make("option", { value: text }, text)));
        select.value = filters[name];
      }
      table.draw();
    };
    const search = make("input", { type: "search", placeholder: "method, setting, …" });
    search.addEventListener("input", () => table.search(search.value).draw());
    form.append(make("label", {}, "search", search));
    for (const name of Object.keys(filters)) {
      selects[name] = make("select", { name });
      selects[name].addEventListener("change", () => { filters[name] = selects[name].value; refresh(); });
      form.append(make("label", {}, name, selects[name]));
    }
    const clear = make("button", { type: "button" }, "clear filters");
    clear.addEventListener("click", () => {
      for (const name of Object.keys(filters)) filters[name] = "";
      search.value = "";
      table.search("");
      refresh();
    });
    form.append(clear);
    form.addEventListener("submit", (event) => event.preventDefault());
    refresh();
  };

  // From a value to its seeds, its differences and its runs.
  const dialog = document.getElementById("runs");
  const simpleTable = (head, lines) =>
    make("div", { class: "scroll", tabindex: 0 }, make("table", {},
      make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...lines.map((cells) => make("tr", {}, ...cells.map((text) => make("td", {}, text === null ? "" : String(text))))))));
  const facts = (pairs) => make("dl", {}, ...pairs.filter(([, text]) => text).flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
  const open = (row) => {
    const simulated = document.title.startsWith("SIMULATED") ? "SIMULATED DATA · " : "";
    document.getElementById("runs-title").textContent = `${simulated}${row.method} · ${row.task} · ${row["data set"]}`;
    const used = [...new Set(row.cells.map((cell) => cell.at(-1)))].map((place) => data.runs[place]);
    const blank = row.cells.map((cell) => cell.slice(0, -1));
    const columns = ["pre-training seed", "seed", "fold", "value", "training images", "test images", "positives"];
    const kept = columns.map((_, i) => i).filter((i) => i === 3 || blank.some((cell) => cell[i] !== null));
    const content = [facts([
      [row.metric, `${valueText(row.value)} ${intervalText(row.value, row.low, row.high)}`],
      ["labels", row.labels], ["protocol", `${row.protocol}, ${row.setting}`], ["endpoint", row.endpoint],
      ["among the encoders", row.mark === "not worse" ? "not significantly worse than the best" : row.mark],
      ["contamination", `${row.sign} ${row.contamination}`.trim()], ["published", row.published],
    ])];
    if (row.differences.length) {
      const digit = digits(row.value ?? 0);
      content.push(make("h3", {}, `${simulated}Paired differences`), simpleTable(["over", "difference", "95 % interval", "p", "p (Holm)"],
        row.differences.map(([change, low, high, p, holm, reference]) => [data.references[reference],
          change === null ? "–" : (change > 0 ? "+" : "") + fixed(change, digit), intervalText(row.value ?? 0, low, high), pText(p), pText(holm) || "–"])));
    }
    content.push(make("h3", {}, `${simulated}Seeds`), simpleTable(kept.map((i) => columns[i]), blank.map((cell) => kept.map((i) => cell[i]))));
    for (const run of used) {
      content.push(make("h3", {}, "Run"), make("p", { class: "note" }, run.run));
      content.push(facts(Object.entries(run.parts).map(([kind, part]) =>
        [kind, [part.seconds === null ? "" : `${fixed(part.seconds, 1)} s`, `commit ${part.commit}`, part.machine].filter(Boolean).join(", ")])));
      if (run.refused.length) content.push(make("p", { class: "note" }, "Not run: " + run.refused.join("; ")));
    }
    document.getElementById("runs-content").replaceChildren(...content);
    dialog.showModal();
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.open");
    if (button) open(rows[button.dataset.row]);
    if (event.target === dialog) dialog.close();
  });
  document.getElementById("close").addEventListener("click", () => dialog.close());

  // The slash keeps the browser from scrolling to the section, past the title.
  const wanted = () => (tabs.find((tab) => "#/" + tab.dataset.target === location.hash) ?? tabs[0]).dataset.target;
  addEventListener("hashchange", () => show(wanted()));
  show(wanted());
})();
